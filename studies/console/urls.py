"""Map the addresses of the study admin's side."""

from __future__ import annotations

from django.contrib.auth import views as auth
from django.urls import path

from evenhand.studies.console import (
    bundles,
    checks,
    downloads,
    evaluators,
    objective,
    power,
    printed,
    prompt_sets,
    results,
    revision,
    sampling,
    undo,
    versions,
    views,
)

app_name = "console"

urlpatterns = [
    path("login/", auth.LoginView.as_view(template_name="console/login.html"), name="login"),
    path("logout/", auth.LogoutView.as_view(), name="logout"),
    path("", views.studies, name="studies"),
    path("prompts/", prompt_sets.prompt_sets, name="prompt_sets"),
    path("prompts/uploads/<str:token>/", prompt_sets.preview, name="prompt_preview"),
    path("prompts/uploads/<str:token>/import/", prompt_sets.store, name="prompt_import"),
    path("prompts/uploads/<str:token>/discard/", prompt_sets.discard, name="prompt_discard"),
    path("prompts/<int:pk>/delete/", prompt_sets.delete, name="delete_prompt_set"),
    path("prompts/<int:pk>/", sampling.prompt_set, name="prompt_set"),
    path("prompts/<int:pk>/tries/<int:run>/", sampling.prompt_set, name="sampling_run"),
    path("prompts/<int:pk>/tries/<int:run>/frechet.<slug:kind>", sampling.curve, name="sampling_curve"),
    path("power/", power.power, name="power"),
    path("power/power.<slug:kind>", power.figure, name="power_figure"),
    path("studies/new/", views.new_study, name="new_study"),
    path("studies/<int:pk>/", views.study, name="study"),
    path("studies/<int:pk>/plan/", views.change_plan, name="change_plan"),
    path("studies/<int:pk>/versions/", versions.versions, name="versions"),
    path("studies/<int:pk>/versions/<int:number>.<slug:kind>", versions.version_file, name="version_file"),
    path("studies/<int:pk>/revision/", revision.revision, name="revision"),
    path("studies/<int:pk>/manage/", undo.manage, name="manage"),
    path("studies/<int:pk>/copy/", undo.copy, name="copy"),
    path("studies/<int:pk>/delete/", undo.delete, name="delete"),
    path("studies/<int:pk>/printed/", printed.printed, name="printed"),
    path("studies/<int:pk>/pairs/", views.pairs, name="pairs"),
    path("studies/<int:pk>/checks/", checks.checks, name="checks"),
    path("studies/<int:pk>/checks/<int:number>/", checks.exchange, name="exchange_check"),
    path("studies/<int:pk>/invitations/", evaluators.invite, name="invite"),
    path("studies/<int:pk>/link/", evaluators.renew_link, name="renew_link"),
    path("studies/<int:pk>/evaluators/<int:evaluator>/", evaluators.change_exclusion, name="exclusion"),
    path("studies/<int:pk>/results/", results.results, name="results"),
    path("studies/<int:pk>/tables/<slug:name>.<slug:kind>", results.result_table, name="result_table"),
    path("studies/<int:pk>/metrics/", objective.objective, name="objective"),
    path("studies/<int:pk>/metrics.json", objective.objective_json, name="objective_json"),
    path("studies/<int:pk>/metrics/tables/<slug:name>.<slug:kind>", objective.table, name="objective_table"),
    path("studies/<int:pk>/metrics/<slug:name>.<slug:kind>", objective.figure, name="objective_figure"),
    path("studies/<int:pk>/<slug:action>/", views.act, name="act"),
    path("studies/<int:pk>/bundle.zip", bundles.download, name="bundle"),
    path("studies/<int:pk>/preferences.csv", downloads.table, {"name": "preferences"}, name="preferences"),
    *(
        path(f"studies/<int:pk>/{name}.csv", downloads.table, {"name": name}, name=f"{name}_csv")
        for name in ("preferences-excel", "pairs", "evaluators")
    ),
    path("studies/<int:pk>/links.csv", downloads.links, name="links_csv"),
    path("studies/<int:pk>/people.csv", downloads.people, name="people_csv"),
    path("studies/<int:pk>/report.json", downloads.report_json, name="report"),
    path(
        "studies/<int:pk>/histogram.<slug:kind>", downloads.preference_figure, {"name": "histogram"}, name="histogram"
    ),
    path(
        "studies/<int:pk>/diverging.<slug:kind>", downloads.preference_figure, {"name": "diverging"}, name="diverging"
    ),
    path("studies/<int:pk>/scores.<slug:kind>", downloads.preference_figure, {"name": "scores"}, name="scores"),
    path("studies/<int:pk>/frechet.svg", downloads.frechet, name="frechet"),
    path("studies/<int:pk>/frechet.<slug:kind>", downloads.frechet, name="frechet_file"),
    path("images/<int:pk>.png", downloads.image, name="image"),
]
