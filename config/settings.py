"""Define Django's settings; the defaults need no other service, and the environment overrides them.

EVENHAND_VAR                folder of everything the installation writes (default: ``var/`` in a checkout, else
                            ``evenhand`` in the user's data folder)
EVENHAND_DEBUG              ``1`` turns on Django's debug pages (default off)
EVENHAND_SECRET_KEY         secret key; default: made once in ``var/secret_key``
EVENHAND_ALLOWED_HOSTS      comma-separated host names (default: this machine only)
EVENHAND_TRUSTED_ORIGINS    comma-separated origins for CSRF, e.g. ``https://study.example.org``
EVENHAND_STATIC             folder into which ``manage.py collectstatic`` writes scripts and style sheets, compressed
                            and under hashed names, and from which they are served (default: served as they are)
EVENHAND_LEASE_SECONDS      how long a worker may be silent before its batch is given to another (default 90)
EVENHAND_DEVICE             ``cpu`` or ``cuda``: where the models run (default: cuda if there is one)
EVENHAND_COMPILE            ``1``: compile the image model, kept in ``var/compiled``; pays on a GPU (default off)
DATABASE_URL                default: SQLite in ``var/db.sqlite3``
CELERY_BROKER_URL           default: kombu's filesystem transport in ``var/broker``
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import dj_database_url
from django.core.exceptions import ImproperlyConfigured

from evenhand.config.secret import load_secret_key

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


DEBUG = _flag("EVENHAND_DEBUG")
SECRET_KEY = load_secret_key(VAR)
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
    "django_htmx",
    "evenhand.studies",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
]

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
    """SQLite in WAL mode with immediate transactions, or whatever DATABASE_URL names."""
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
    return database


DATABASES = {"default": _database()}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
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
STATIC_ROOT.mkdir(
    parents=True, exist_ok=True
)  # whitenoise warns of a missing folder, though it serves from the finders
WHITENOISE_USE_FINDERS = not COLLECTED
MEDIA_ROOT = VAR / "images"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "evenhand.config.collected.CollectedFiles"
        if COLLECTED
        else "django.contrib.staticfiles.storage.StaticFilesStorage"
    },
}
DATA_UPLOAD_MAX_MEMORY_SIZE = 1_000_000
FILE_UPLOAD_TEMP_DIR = None

SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"  # the evaluator's pages send no-referrer; with it a form's Origin would be null
X_FRAME_OPTIONS = "DENY"
SESSION_COOKIE_HTTPONLY = True
if any(origin.startswith("https://") for origin in CSRF_TRUSTED_ORIGINS):
    SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = True
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

LEASE_SECONDS = _seconds("EVENHAND_LEASE_SECONDS", "90")
MODEL_DEVICE = os.environ.get("EVENHAND_DEVICE", "")
COMPILE_MODELS = _flag("EVENHAND_COMPILE")
COMPILE_CACHE = VAR / "compiled"
FEATURE_CACHE = VAR / "features"
DEMO_CHECKPOINT = BASE_DIR / "demo" / "checkpoint"

BROKER_FOLDER = VAR / "broker"
CELERY_BROKER_URL = os.environ.get("CELERY_BROKER_URL", "filesystem://")

from evenhand.config.observability import LOGGING  # noqa: E402, F401  (a plain dictionary, kept in a file of its own)
