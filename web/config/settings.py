"""Settings of the site, all from the environment; secure unless told otherwise.

Importing them needs no environment at all, so that type checkers, tests and `collectstatic` can. What is missing
for serving is said by `config.checks`, which every management command and `config.wsgi` run first.
"""

from django.utils.csp import CSP

from config import environment
from config.database import database

DEBUG = environment.flag("DEBUG", default=False)
SECRET_KEY = environment.secret_key(debug=DEBUG)
NIGHTREEL_INTERNAL_HOSTS = frozenset(word.lower() for word in environment.words("INTERNAL_HOSTS"))
ALLOWED_HOSTS = [*environment.hosts(), *sorted(NIGHTREEL_INTERNAL_HOSTS)]

NIGHTREEL_DATA_FOLDER = environment.data_folder()
NIGHTREEL_TOKEN_SHA256 = environment.token_sha256("TOKEN")
NIGHTREEL_EXPORT_TOKEN_SHA256 = environment.token_sha256("EXPORT_TOKEN")
NIGHTREEL_MAX_BUNDLE_BYTES = environment.number("MAX_BUNDLE_BYTES", default=environment.HALF_A_GIBIBYTE)

NIGHTREEL_CORS_ORIGINS = environment.words("CORS_ORIGINS")
NIGHTREEL_TMDB_KEY = environment.text("TMDB_KEY")
NIGHTREEL_TRUSTED_PROXIES = environment.number("TRUSTED_PROXIES", default=0)  # hops that set X-Forwarded-For

INSTALLED_APPS = [
    "whitenoise.runserver_nostatic",  # development serves files the way production does
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "recommender",
]
MIDDLEWARE = [
    "recommender.health.HealthMiddleware",  # first: a prober knows neither TLS nor the host's name
    "recommender.request_log.RequestLogMiddleware",
    "config.internal_hosts.InternalHostsMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.csp.ContentSecurityPolicyMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "recommender.api_middleware.ApiMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.jinja2.Jinja2",
        "APP_DIRS": True,
        "OPTIONS": {"environment": "recommender.templating.environment"},
    },
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [  # what the admin asks for, whose templates these are
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    },
]

DATABASES = {"default": database(environment.database_url(), folder=NIGHTREEL_DATA_FOLDER)}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_I18N = False
USE_TZ = True
TIME_ZONE = "UTC"

STATIC_URL = "static/"
WHITENOISE_USE_FINDERS = True  # a handful of files: served from the app's folder, no collectstatic to forget

# TLS is on as soon as the site answers to a name that others can reach.
TLS = environment.flag("TLS", default=not all(map(environment.is_loopback, environment.hosts())))
SECURE_SSL_REDIRECT = TLS
SECURE_HSTS_SECONDS = environment.number("HSTS_SECONDS", default=31_536_000) if TLS else 0
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = TLS
SESSION_COOKIE_AGE = 12 * 3600  # only staff have sessions
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"  # no cookie for visitors to carry
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
]
LOGIN_URL = "admin:login"
CSRF_FAILURE_VIEW = "recommender.problems.csrf_failure"
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CSP = {
    "default-src": [CSP.NONE],
    "script-src": [CSP.SELF],
    "style-src": [CSP.SELF],
    "img-src": [CSP.SELF],
    "connect-src": [CSP.SELF],
    "form-action": [CSP.SELF],
    "base-uri": [CSP.NONE],
    "frame-ancestors": [CSP.NONE],
}
SILENCED_SYSTEM_CHECKS = [
    "security.W005",  # whether every sibling subdomain speaks TLS is for the operator of the domain to say
    "security.W021",  # so is a place in the browsers' preload list
]

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "text": {"()": "config.logs.TextFormatter"},
        "json": {"()": "config.logs.JsonFormatter"},
    },
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": environment.log_format(debug=DEBUG)}},
    "root": {"handlers": ["stderr"], "level": "INFO"},
    # Each request has its own line already; these would say it again, with the query of a visitor.
    "loggers": {"django.request": {"level": "ERROR"}, "django.security.DisallowedHost": {"level": "CRITICAL"}},
}
