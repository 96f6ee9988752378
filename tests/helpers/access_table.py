"""What each role gets at every address, by GET and by POST: ``tests/test_access_matrix.py`` asks all of it.

``docs/access.md`` shows this table; ``python -m scripts.list_access`` writes it.
"""

from __future__ import annotations

ROLES = ("anonymous", "no role", "viewer", "collaborator", "owner", "superuser")

# What the roles get, in their order: yes (the page, or a message why not now), login (the form), else the status.
ALL = ("yes",) * 6
LOGIN = ("login", "yes", "yes", "yes", "yes", "yes")
PLAN = ("login", "403", "403", "403", "yes", "yes")  # the owner of this table has the permission to create studies
READ = ("login", "404", "yes", "yes", "yes", "yes")
CHANGE = ("login", "404", "403", "yes", "yes", "yes")
OWN = ("login", "404", "403", "403", "yes", "yes")
COPY = ("login", "404", "403", "403", "yes", "yes")  # reads the study, and needs the permission
TOKEN = ("401", "yes", "yes", "yes", "yes", "yes")  # the API, by a token of each role's account
READ_BY_TOKEN = ("401", "404", "yes", "yes", "yes", "yes")
NO = ("login", "405", "405", "405", "405", "405")  # the method is not for this address
NEVER = ("405",) * 6
LINK = ("404",) * 6  # with a wrong link, whoever asks: the link is the credential
RECORDS = ("login", "login", "login", "login", "403", "yes")  # Django's admin; the owner is staff here
NOBODY = ("login", "login", "login", "login", "403", "403")

API = ("/pairs", "/ratings", "/report", "/export")
S, P, U, E = (
    "console/studies/<int:pk>/",
    "console/prompts/<int:pk>/",
    "console/pictures/<str:token>/",
    "e/<token:token>/",
)
TABLE: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "": (ALL, ALL),
    "healthz": (ALL, ALL),
    "readyz": (ALL, ALL),
    E: (LINK, LINK),
    f"{E}consent/": (LINK, LINK),
    f"{E}rate/": (LINK, LINK),
    f"{E}feedback/": (LINK, LINK),
    f"{E}go-on/": (LINK, LINK),
    f"{E}comprehension/": (LINK, LINK),
    f"{E}example/<slug:side>": (LINK, LINK),
    f"{E}skip/": (LINK, LINK),
    f"{E}withdraw/": (LINK, LINK),
    f"{E}t/<uuid:trial>/left": (LINK, LINK),
    f"{E}t/<uuid:trial>/right": (LINK, LINK),
    "j/<token:token>/": (LINK, LINK),
    "console/login/": (ALL, ALL),
    "console/logout/": (NEVER, ALL),
    "console/": (LOGIN, NO),
    "console/tokens/": (LOGIN, LOGIN),
    "console/tokens/<int:pk>/revoke/": (NO, ("login", "404", "404", "404", "404", "404")),  # of nobody's but one's own
    "console/prompts/": (LOGIN, PLAN),
    "console/prompts/uploads/<str:token>/": (LOGIN, NO),
    "console/prompts/uploads/<str:token>/import/": (NO, PLAN),
    "console/prompts/uploads/<str:token>/discard/": (NO, LOGIN),
    f"{P}share/": (NO, OWN),
    f"{P}delete/": (NO, OWN),
    P: (READ, OWN),
    f"{P}tries/<int:run>/": (READ, OWN),
    f"{P}tries/<int:run>/frechet.<slug:kind>": (READ, NO),
    "console/pictures/": (PLAN, PLAN),
    U: (LOGIN, NO),
    f"{U}<int:number>.png": (("login", "404", "404", "404", "404", "404"), NO),  # of nobody's upload but one's own
    f"{U}take/": (NO, PLAN),
    f"{U}discard/": (NO, LOGIN),
    "console/power/": (LOGIN, LOGIN),
    "console/power/power.<slug:kind>": (LOGIN, NO),
    "console/studies/new/": (PLAN, PLAN),
    "console/studies/new/steps/": (PLAN, PLAN),
    S: (READ, NO),
    f"{S}plan/": (CHANGE, CHANGE),
    f"{S}plan/<slug:step>/": (CHANGE, CHANGE),
    f"{S}candidates/": (CHANGE, NO),
    f"{S}candidates/new/": (CHANGE, CHANGE),
    f"{S}candidates/pictures/": (CHANGE, CHANGE),
    f"{S}candidates/pictures/<str:token>/": (CHANGE, CHANGE),
    f"{S}candidates/<slug:key>/": (CHANGE, CHANGE),
    f"{S}candidates/<slug:key>/remove/": (NO, CHANGE),
    f"{S}versions/": (READ, NO),
    f"{S}versions/<int:number>.<slug:kind>": (READ, NO),
    f"{S}revision/": (CHANGE, CHANGE),
    f"{S}members/": (READ, OWN),
    f"{S}members/<int:member>/": (NO, OWN),
    f"{S}log/": (READ, NO),
    f"{S}live/": (READ, NO),
    f"{S}parts/<slug:name>/": (READ, NO),
    f"{S}manage/": (READ, NO),
    f"{S}copy/": (NO, COPY),
    f"{S}delete/": (NO, OWN),
    f"{S}printed/": (READ, NO),
    f"{S}pilot/": (NO, CHANGE),
    f"{S}pilot.csv": (READ, NO),
    f"{S}kept-out/": (CHANGE, CHANGE),
    f"{S}preview/": (NO, READ),
    f"{S}pairs/": (READ, NO),
    f"{S}pairs/<int:pair>/": (READ, NO),
    f"{S}pairs/<int:pair>/use/": (NO, CHANGE),
    f"{S}pairs/<int:pair>/maps/": (READ, CHANGE),
    f"{S}checks/": (READ, NO),
    f"{S}checks/<int:number>/": (NO, CHANGE),
    f"{S}invitations/": (NO, CHANGE),
    f"{S}link/": (NO, CHANGE),
    f"{S}evaluators/<int:evaluator>/": (NO, CHANGE),
    f"{S}people/": (READ, NO),
    f"{S}people/<int:evaluator>/note/": (NO, CHANGE),
    f"{S}people/<int:evaluator>/link/": (NO, CHANGE),
    f"{S}people/<int:evaluator>/place/": (NO, CHANGE),
    f"{S}people/<int:evaluator>/data.json": (OWN, NO),
    f"{S}people/<int:evaluator>/delete/": (NO, OWN),
    f"{S}reconcile/": (OWN, OWN),
    f"{S}results/": (READ, NO),
    f"{S}tables/<slug:name>.<slug:kind>": (READ, NO),
    f"{S}metrics/": (READ, CHANGE),
    f"{S}metrics.json": (READ, NO),
    f"{S}metrics/tables/<slug:name>.<slug:kind>": (READ, NO),
    f"{S}metrics/<slug:name>.<slug:kind>": (READ, NO),
    f"{S}<slug:action>/": (NO, CHANGE),
    f"{S}bundle.zip": (NO, READ),
    f"{S}preferences.csv": (READ, NO),
    f"{S}preferences-excel.csv": (READ, NO),
    f"{S}pairs.csv": (READ, NO),
    f"{S}prompts.csv": (READ, NO),
    f"{S}evaluators.csv": (READ, NO),
    f"{S}audit.csv": (READ, NO),
    f"{S}links.csv": (CHANGE, NO),
    f"{S}people.csv": (OWN, NO),
    f"{S}report.json": (READ, NO),
    f"{S}histogram.<slug:kind>": (READ, NO),
    f"{S}diverging.<slug:kind>": (READ, NO),
    f"{S}sweeps.<slug:kind>": (READ, NO),
    f"{S}scores.<slug:kind>": (READ, NO),
    f"{S}frechet.svg": (READ, NO),
    f"{S}frechet.<slug:kind>": (READ, NO),
    "console/images/<int:pk>.png": (READ, NO),
    "console/images/<int:pk>/map.png": (READ, NO),
    "api/": (LINK, NEVER),  # names no study, and there is no page of the API
    "api/studies": (TOKEN, NEVER),
    **{f"api/studies/<number>{part}": (READ_BY_TOKEN, NEVER) for part in ("", *API)},
}
ADMIN: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {  # of each record: it is read there, and never changed
    "admin/studies/<record>/": (RECORDS, RECORDS),
    "admin/studies/<record>/add/": (NOBODY, NOBODY),
    "admin/studies/<record>/<pk>/delete/": (NOBODY, NOBODY),
    "admin/studies/<record>/<pk>/change/": (RECORDS, NOBODY),
}
