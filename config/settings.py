"""Define Django's settings; the defaults need no other service, and the environment overrides them.

EVENHAND_VAR                folder of everything the installation writes (default: ``var/`` in a checkout, else
                            ``evenhand`` in the user's data folder)
EVENHAND_DEBUG              ``1`` turns on Django's debug pages (default off)
EVENHAND_SECRET_KEY         secret key; default: made once in ``var/secret_key``
EVENHAND_SECRET_KEY_FALLBACKS  older secret keys, apart by blanks: what was made with them still holds (default: none)
EVENHAND_ALLOWED_HOSTS      comma-separated host names (default: this machine only)
EVENHAND_TRUSTED_ORIGINS    comma-separated origins for CSRF, e.g. ``https://study.example.org``
EVENHAND_HSTS_SECONDS       for how long browsers keep to https, where a trusted origin has it (default 3600)
EVENHAND_PROXIES            how many proxies in front add to ``X-Forwarded-For`` (default 0: nobody is believed)
EVENHAND_LOGIN_TRIES        after so many failed logins with one name from one address the next are refused (default 10)
EVENHAND_LOGIN_PAUSE        for how long, in seconds (default 900)
EVENHAND_ARRIVALS_PER_ADDRESS  so many people may come in by enrolment links within an hour from one address
                            (default 500; 0: any number)
EVENHAND_ARRIVALS_PER_LINK  so many by one link (default 5000; 0: any number)
EVENHAND_KEEP_DAYS          days after a study's closing at which ``manage.py personal_data forget`` empties what
                            identifies its people (default: none, the command is told)
EVENHAND_STATIC             folder into which ``manage.py collectstatic`` writes scripts and style sheets, compressed
                            and under hashed names, and from which they are served (default: served as they are)
EVENHAND_LEASE_SECONDS      how long a worker may be silent before its batch is given to another (default 90)
EVENHAND_BACKOFF_SECONDS    half of the first pause after a failed attempt; each further one is twice as long, up to an
                            hour (default 5)
EVENHAND_DEVICE             ``cpu`` or ``cuda``: where the models run (default: cuda if there is one)
EVENHAND_COMPILE            ``1``: compile the image model, kept in ``var/compiled``; pays on a GPU (default off)
EVENHAND_MODEL_DOWNLOADS    ``1`` lets ``manage.py fetch_model`` download models from the hub (default off)
EVENHAND_ALARM_EMAIL        comma-separated addresses to which ``manage.py alarms`` sends alarms (default: none)
EVENHAND_ALARM_WEBHOOK      address to which it posts each alarm as JSON (default: none)
EVENHAND_EMAIL              mail server, ``smtp://user:password@host:587`` (default: mail goes to standard output)
EVENHAND_EMAIL_FROM         sender of mail (default ``evenhand@localhost``)
EVENHAND_LOG                ``json``: one JSON object a line on standard error (default ``plain``)
EVENHAND_METRICS            ``1``: ``/metrics`` answers with figures for Prometheus (default off)
EVENHAND_STORAGE            where pictures lie, ``s3://bucket/prefix``; the usual AWS_ variables say how to reach it
                            (default: ``images`` in the folder of EVENHAND_VAR)
EVENHAND_MODEL_ROOTS        folders, apart by ``:``, below which studies' checkpoints and encoders may lie, beside the
                            demo's (default: ``var/models`` and the hub's cache)
EVENHAND_MODEL_PICKLES      ``1``: studies may load pickled weights, which could run code (default: safetensors alone)
EVENHAND_IMPORT_ROOTS       folders, apart by ``:``, below which the console may read pictures, to import them or as
                            a scoring's reference (default: none)
DATABASE_URL                default: SQLite in ``var/db.sqlite3``
CELERY_BROKER_URL           default: kombu's filesystem transport in ``var/broker``
"""

from __future__ import annotations

import logging
import os
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import dj_database_url
from django.core.exceptions import ImproperlyConfigured

from evenhand.config.pictures import picture_stores
from evenhand.config.secret import load_secret_keys
from evenhand.config.threads import wait_briefly

wait_briefly()
BASE_DIR = Path(__file__).resolve().parent.parent  # the checkout, or the installed package
IN_CHECKOUT = (BASE_DIR / "manage.py").is_file()


def _default_var() -> Path:
    if IN_CHECKOUT:
        return BASE_DIR / "var"
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "evenhand"


VAR = Path(os.environ.get("EVENHAND_VAR") or _default_var()).resolve()
VAR.mkdir(parents=True, exist_ok=True)
WORKING_FOLDER = BASE_DIR if IN_CHECKOUT else VAR  # where child processes start: `evenhand` can be imported there


def _flag(name: str) -> bool:
    value = os.environ.get(name, "0").lower()
    if value not in {"0", "1", "true", "false", ""}:
        raise ImproperlyConfigured(f"{name} must be 0 or 1, not {value!r}")
    return value in {"1", "true"}


def _words(name: str, default: str) -> list[str]:
    return [word.strip() for word in os.environ.get(name, default).split(",") if word.strip()]


def _seconds(name: str, default: str) -> float:
    value = os.environ.get(name, default)
    try:
        seconds = float(value)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise ImproperlyConfigured(f"{name} must be a positive number of seconds, not {value!r}")
    return seconds


def _count(name: str, default: str) -> int:
    value = os.environ.get(name, default)
    if not (value.isascii() and value.isdigit()):
        raise ImproperlyConfigured(f"{name} must be a whole number, not {value!r}")
    return int(value)


def _mail_server() -> dict[str, Any]:
    """Return Django's settings of the server that EVENHAND_EMAIL names; none where it names none."""
    url = os.environ.get("EVENHAND_EMAIL", "")
    if not url:
        return {}
    parts = urlsplit(url)
    if parts.scheme not in ("smtp", "smtps") or not parts.hostname:
        raise ImproperlyConfigured("EVENHAND_EMAIL must look like smtp://user:password@host:587")
    return {
        "EMAIL_HOST": parts.hostname,
        "EMAIL_PORT": parts.port or (465 if parts.scheme == "smtps" else 587 if parts.username else 25),
        "EMAIL_HOST_USER": unquote(parts.username or ""),
        "EMAIL_HOST_PASSWORD": unquote(parts.password or ""),
        "EMAIL_USE_SSL": parts.scheme == "smtps",
        "EMAIL_USE_TLS": parts.scheme == "smtp" and bool(parts.username),
    }


DEBUG = _flag("EVENHAND_DEBUG")
METRICS = _flag("EVENHAND_METRICS")
SECRET_KEY, *SECRET_KEY_FALLBACKS = load_secret_keys(VAR)
SECRET_FILE = VAR / "secret_key"
ALLOWED_HOSTS = _words("EVENHAND_ALLOWED_HOSTS", "127.0.0.1,localhost,[::1]")
CSRF_TRUSTED_ORIGINS = _words("EVENHAND_TRUSTED_ORIGINS", "")

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "csp",
    "django_htmx",
    "axes",
    "evenhand.studies",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    "django_permissions_policy.PermissionsPolicyMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "axes.middleware.AxesMiddleware",  # the last: it puts the page in place of a refused login's answer
]
if METRICS:
    MIDDLEWARE.insert(0, "evenhand.config.prometheus.measured")

ROOT_URLCONF = "evenhand.config.urls"
CSRF_FAILURE_VIEW = "evenhand.studies.error_pages.without_token"
WSGI_APPLICATION = "evenhand.config.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]


def _database() -> dict[str, Any]:
    """SQLite in WAL mode with immediate transactions, or whatever DATABASE_URL names; its ``options`` win."""
    url = os.environ.get("DATABASE_URL", f"sqlite:///{VAR / 'db.sqlite3'}")
    database: dict[str, Any] = dict(dj_database_url.parse(url, conn_max_age=60, conn_health_checks=True))
    if database["ENGINE"] == "django.db.backends.sqlite3":
        # An immediate transaction takes the write lock when it begins, so that it waits there instead of failing
        # in the middle. An acknowledged answer must survive a power cut: synchronous=FULL.
        database["OPTIONS"] = {
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA busy_timeout=20000;",
        }
        if test_file := os.environ.get("EVENHAND_TEST_SQLITE"):
            database["TEST"] = {"NAME": test_file}
    elif database["ENGINE"] == "django.db.backends.postgresql":
        # A server that is silent, or whose machine has gone, must not hold a worker up for hours. It takes some queries
        # for longer than they are, and compiled them for a second before it ran them: no jit.
        chosen = {"connect_timeout": 10, "keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}
        chosen["tcp_user_timeout"] = 60_000  # ms; without it a query into a cut line waits for a quarter of an hour
        database["OPTIONS"] = {**chosen, "options": "-c jit=off"} | database.get("OPTIONS", {})
    return database


DATABASES = {"default": _database()}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"]
PROXIES = _count("EVENHAND_PROXIES", "0")
KEEP_DAYS = _count("EVENHAND_KEEP_DAYS", "") if os.environ.get("EVENHAND_KEEP_DAYS") else None
ARRIVALS_PER_ADDRESS = _count("EVENHAND_ARRIVALS_PER_ADDRESS", "500")  # a university or a panel may have one for all
ARRIVALS_PER_LINK = _count("EVENHAND_ARRIVALS_PER_LINK", "5000")
AXES_HANDLER = "evenhand.studies.logins.FailedLogins"
AXES_CLIENT_IP_CALLABLE = "evenhand.studies.addresses.stand_in"
AXES_USERNAME_CALLABLE = "evenhand.studies.logins.name_hash"
AXES_LOCKOUT_CALLABLE = "evenhand.studies.logins.locked_out"
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_FAILURE_LIMIT = max(1, _count("EVENHAND_LOGIN_TRIES", "10"))
AXES_COOLOFF_TIME = timedelta(seconds=_seconds("EVENHAND_LOGIN_PAUSE", "900"))
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False  # so that what the page says of the time stays true
AXES_RESET_ON_SUCCESS = True
AXES_DISABLE_ACCESS_LOG = True
AXES_ENABLE_ADMIN = AXES_VERBOSE = False
LOGIN_URL = "console:login"
LOGIN_REDIRECT_URL = "console:studies"
LOGOUT_REDIRECT_URL = "console:login"

CACHES = {
    "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
    # In files, so that the processes that draw a page's figures need not compute its report again.
    "reports": {"BACKEND": "django.core.cache.backends.filebased.FileBasedCache", "LOCATION": VAR / "reports"},
}

LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("de", "Deutsch")]  # of the evaluators' pages; the console speaks English
LOCALE_PATHS = [BASE_DIR / "locale"]
TIME_ZONE = "UTC"
USE_TZ = True

STATIC_URL = "static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
COLLECTED = os.environ.get("EVENHAND_STATIC", "")
STATIC_ROOT = Path(COLLECTED or VAR / "static").resolve()
if not COLLECTED:  # whitenoise warns of a missing folder, though it serves from the finders
    STATIC_ROOT.mkdir(parents=True, exist_ok=True)
WHITENOISE_USE_FINDERS = not COLLECTED
MEDIA_ROOT = VAR / "images"
IMPORT_ROOTS = [root for root in os.environ.get("EVENHAND_IMPORT_ROOTS", "").split(os.pathsep) if root]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "evenhand.config.collected.CollectedFiles"
        if COLLECTED
        else "django.contrib.staticfiles.storage.StaticFilesStorage"
    },
    **picture_stores(os.environ.get("EVENHAND_STORAGE", "")),
}
DATA_UPLOAD_MAX_MEMORY_SIZE = 1_000_000
FILE_UPLOAD_TEMP_DIR = None

SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"  # the evaluator's pages send no-referrer; with it a form's Origin would be null
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'self'"],
        "img-src": ["'self'", "data:"],  # the empty icon is data
        "object-src": ["'none'"],
        "base-uri": ["'none'"],
        "frame-ancestors": ["'none'"],
        "form-action": ["'self'", "https:"],  # the way back to a panel follows a form
    }
}
PERMISSIONS_POLICY: dict[str, list[str]] = {
    name: [] for name in ("camera", "display-capture", "geolocation", "microphone", "midi", "payment", "usb")
}
SESSION_COOKIE_HTTPONLY = True
if any(origin.startswith("https://") for origin in CSRF_TRUSTED_ORIGINS):
    SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = True
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SECURE_SSL_REDIRECT = True
    SECURE_REDIRECT_EXEMPT = ["^healthz$", "^readyz$", "^metrics$"]  # asked from within, without TLS
    SECURE_HSTS_SECONDS = int(os.environ.get("EVENHAND_HSTS_SECONDS") or 3600)
# Other hosts of the domain, and lists that browsers ship, are the domain owner's to decide.
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]

ALARM_EMAIL = _words("EVENHAND_ALARM_EMAIL", "")
ALARM_WEBHOOK = os.environ.get("EVENHAND_ALARM_WEBHOOK", "")
DEFAULT_FROM_EMAIL = os.environ.get("EVENHAND_EMAIL_FROM", "evenhand@localhost")
EMAIL_BACKEND = f"django.core.mail.backends.{'smtp' if os.environ.get('EVENHAND_EMAIL') else 'console'}.EmailBackend"
EMAIL_TIMEOUT = 10
globals().update(_mail_server())

LEASE_SECONDS = _seconds("EVENHAND_LEASE_SECONDS", "90")
BACKOFF_SECONDS = _seconds("EVENHAND_BACKOFF_SECONDS", "5")
MODEL_DEVICE = os.environ.get("EVENHAND_DEVICE", "")
COMPILE_MODELS = _flag("EVENHAND_COMPILE")
COMPILE_CACHE = VAR / "compiled"
MODEL_DOWNLOADS = _flag("EVENHAND_MODEL_DOWNLOADS")
MODELS = VAR / "models"
FEATURE_CACHE = VAR / "features"
DEMO_CHECKPOINT = BASE_DIR / "demo" / "checkpoint"
HUB_CACHE = Path(
    os.environ.get("HF_HUB_CACHE") or Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface") / "hub"
)
MODEL_ROOTS = [
    str(DEMO_CHECKPOINT),
    *(
        [root for root in os.environ["EVENHAND_MODEL_ROOTS"].split(os.pathsep) if root]
        if os.environ.get("EVENHAND_MODEL_ROOTS")
        else [str(VAR / "models"), str(HUB_CACHE)]
    ),
]
MODEL_PICKLES = _flag("EVENHAND_MODEL_PICKLES")
OWN_FOLDERS = [str(each) for each in (BASE_DIR, VAR, HUB_CACHE)]  # which errors do not show to study admins

BROKER_FOLDER = VAR / "broker"
CELERY_BROKER_URL = os.environ.get("CELERY_BROKER_URL", "filesystem://")

from evenhand.config.observability import logging_as  # noqa: E402  (it imports Celery, which asks for the settings)

LOG_FORMAT = os.environ.get("EVENHAND_LOG") or "plain"
LOGGING = logging_as(LOG_FORMAT)
logging.captureWarnings(LOG_FORMAT == "json")  # Python's warnings would be lines of another form
