"""List the questions of HEDS 3.0, the Human Evaluation Data Sheet (Belz & Thomson 2025, GEM), in words of our own."""

from __future__ import annotations

from evenhand.studies.printed import answers
from evenhand.studies.printed.answers import Item, says

HEDS = (
    Item(
        "1.1.1",
        "Location of the main write-up: published, unpublished, or nothing yet (preregistration planned or not).",
        answers.nothing,
    ),
    Item(
        "1.1.2", "Which single experiment the sheet covers, told apart from others in the same work.", answers.nothing
    ),
    Item(
        "1.2",
        "Location of shared materials used in the experiment, or a statement that nothing is shared.",
        answers.record,
    ),
    Item("1.3.1.1", "Who is filling in the sheet (name).", answers.nothing),
    Item("1.3.1.2", "Institution of whoever fills in the sheet.", answers.nothing),
    Item("1.3.1.3", "E-mail of whoever fills in the sheet.", answers.nothing),
    Item("1.3.2.1", "Who the corresponding author is (name).", answers.nothing),
    Item("1.3.2.2", "Institution of the corresponding author.", answers.nothing),
    Item("1.3.2.3", "E-mail of the corresponding author.", answers.nothing),
    Item(
        "2.1", "Kind of input shared by all systems under test, prompts included.", says("Text: one prompt a picture.")
    ),
    Item("2.2", "Kind of output that all systems under test produce.", says("Pictures.")),
    Item(
        "2.3", "Task that turns those inputs into those outputs.", says("Other: generation of a picture from a text.")
    ),
    Item("2.4", "Languages the systems accept as input.", answers.nothing),
    Item("2.5", "Languages of what the systems produce.", says("None: outputs are pictures.")),
    Item("3.1.1", "Number of items judged for each system.", answers.sample),
    Item("3.1.2", "Way the judged items were picked from the larger pool.", answers.selection),
    Item("3.1.3.1", "Power-analysis method behind the sample size, with reference.", answers.power_method),
    Item("3.1.3.2", "Numerical power obtained for this sample.", answers.power_reached),
    Item("3.1.3.3", "Location of the code behind the power calculation.", answers.power_code),
    Item(
        "3.2.1",
        "Total evaluators whose judgements count in the results, leaving out excluded ones.",
        answers.evaluators,
    ),
    Item("3.2.2.1", "Whether evaluators have expert knowledge of the domain.", answers.nothing),
    Item("3.2.2.2", "Whether and how evaluators were compensated.", answers.payment),
    Item("3.2.2.3", "Whether the authors knew any evaluator beforehand.", answers.nothing),
    Item("3.2.2.4", "Whether any experimenter also acted as evaluator.", answers.nothing),
    Item("3.2.3", "Recruitment route, such as mailing lists, social media, posters, gatekeepers.", answers.recruitment),
    Item("3.2.4", "Preparation before judging: introductions, training, trial items.", answers.training),
    Item(
        "3.2.5",
        "Further known traits of the evaluators (demographics, education, place), with subgroup counts.",
        answers.nothing,
    ),
    Item("3.3.1", "Whether the design was registered in advance, with link.", answers.plan),
    Item("3.3.2", "Platform or medium through which answers are gathered.", answers.platform),
    Item("3.3.3.1", "Kinds of checks on evaluators' suitability and on answer quality.", answers.quality_kinds),
    Item("3.3.3.2", "Details of every check ticked in the preceding question.", answers.quality),
    Item(
        "3.3.4.1",
        "Link to a copy or screenshot of what participants saw.",
        says("The printed report and the study bundle show consent, instructions and a pair as it was laid out."),
    ),
    Item("3.3.4.2", "Kinds of information on screen during each judgement, with any variation.", answers.interface),
    Item(
        "3.3.5",
        "Time constraints: fixed date, limit per item, limit overall, one sitting.",
        says("None: evaluators take the time they need; after a long silence their open pairs may go to others."),
    ),
    Item("3.3.6", "Whether evaluators are told they may ask questions or comment.", answers.questions),
    Item(
        "3.3.7",
        "Setting of the judging: own place, lab, real-life or simulated, controlled or not.",
        says("A place of the evaluators' own choosing, in a browser."),
    ),
    Item(
        "3.3.8",
        "How uncontrolled conditions may differ between evaluators.",
        says("Screens, light and distance differ. Window, displayed size and pointer are stored with each answer."),
    ),
    Item(
        "4.1.1",
        "Quality type: attainable correctness, open-ended goodness, or a context-dependent feature.",
        says("Goodness: what people prefer."),
    ),
    Item("4.1.2", "Whether form, content, or both are judged.", answers.form_or_content),
    Item(
        "4.1.3", "Whether outputs are judged alone, against the input, or against something external.", answers.against
    ),
    Item("4.2.1", "Whether a judgement is objective or subjective.", says("Subjective.")),
    Item(
        "4.2.2",
        "Whether each judgement sees one system or compares several.",
        says("Relative: two pictures of one prompt."),
    ),
    Item("4.2.3", "Whether quality is judged directly or by its effect on something outside.", says("Intrinsic.")),
    Item("4.3.1.1", "Criterion name shown to evaluators.", answers.criteria_names),
    Item("4.3.1.2", "Matching name in a standard taxonomy such as QCET.", answers.nothing),
    Item("4.3.2", "Exact definition of the criterion shown to evaluators, if any.", answers.criteria),
    Item("4.3.3", "Count of distinct answers the rating instrument can give.", answers.size),
    Item("4.3.4", "List or range of those answers.", answers.options),
    Item("4.3.5", "Form in which the instrument appears on screen.", says("Multiple choice: exactly one option.")),
    Item(
        "4.3.6",
        "Task performed when no rating instrument exists.",
        says("Does not apply: there is a rating instrument."),
    ),
    Item("4.3.7", "Exact wording of the question or instruction visible at each judgement.", answers.criteria),
    Item(
        "4.3.8",
        "Response form: agreement, direct rating, comparison, counting, comments, editing, labelling, measuring.",
        says("Relative quality estimation."),
    ),
    Item(
        "4.3.9",
        "How raw answers become the reported scores.",
        says("Answers become −2 … 2 towards the candidate; shares, their difference and the mean are reported."),
    ),
    Item("4.3.10", "Methods for effect size and significance on this criterion.", answers.statistics),
    Item(
        "4.3.11.1",
        "Method for measuring agreement between evaluators.",
        says("Krippendorff’s α for ordinal data, with pairs as units; percent agreement and Gwet’s AC2 beside it."),
    ),
    Item("4.3.11.2", "Agreement value obtained between evaluators.", answers.agreement),
    Item("4.3.12.1", "Method for measuring evaluators' consistency with themselves.", answers.repeats_method),
    Item("4.3.12.2", "Self-consistency value obtained.", answers.repeats_value),
    Item("5.1", "Name of the ethics body that approved the study, or that none did.", answers.approval),
    Item("5.2", "Whether GDPR personal data appears in the judged items or the answers.", answers.stored),
    Item(
        "5.3",
        "Whether GDPR special-category data appears in the judged items or the answers.",
        says(
            "None is asked for by the application; whether pictures or remarks hold any is for the researcher to say."
        ),
    ),
    Item("5.4", "Whether any impact assessment was done on the experiment or its data.", answers.nothing),
)
