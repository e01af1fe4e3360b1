"""Django's admin: movies, bundles, activations and tokens to look at; what may be done is done by actions."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone

from recommender import publishing
from recommender.models import Activation, ApiToken, Movie, StoredBundle

admin.site.site_header = admin.site.site_title = "Nightreel"
admin.site.index_title = "Administration"
admin.site.site_url = "/staff/models/"
admin.site.login_template = "recommender/login.html"  # Django's has no heading for those who listen


class ReadOnly:
    """Rows come from bundles and commands: a hand-made one would not fit the file that it belongs to."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Nobody adds by hand."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody changes by hand."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody deletes: movies are never deleted, and a bundle's row is its history."""
        return False


@admin.register(Movie)
class MovieAdmin(ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]  # generic in the stubs alone
    """Movies of all data sets."""

    list_display = ("title", "year", "dataset", "movie_id", "rating_count")
    list_filter = ("dataset",)
    search_fields = ("title", "search_key", "=movie_id")
    ordering = ("-rating_count", "title")
    list_per_page = 50
    show_full_result_count = False


@admin.register(StoredBundle)
class StoredBundleAdmin(ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]  # generic in the stubs alone
    """Bundles that came; any whose file is kept can be made to serve."""

    list_display = ("run_id", "short_id", "dataset", "movies", "uploaded", "serves", "kept", "refused")
    search_fields = ("run_id", "sha256")
    ordering = ("-uploaded",)
    actions = ("activate",)

    @admin.display(description="model")
    def short_id(self, stored: StoredBundle) -> str:
        """The beginning of the SHA-256."""
        return stored.sha256[:12]

    @admin.display(boolean=True)
    def serves(self, stored: StoredBundle) -> bool:
        """Whether it answers visitors now."""
        current = Activation.objects.current()
        return current is not None and current.bundle_id == stored.pk

    @admin.display(boolean=True)
    def kept(self, stored: StoredBundle) -> bool:
        """Whether its file is still there."""
        return stored.path.exists()

    @admin.action(description="Activate: let this one serve", permissions=["activate"])
    def activate(self, request: HttpRequest, chosen: QuerySet[StoredBundle]) -> None:
        """Make the one chosen bundle serve."""
        if len(chosen) != 1:
            self.message_user(request, "Choose exactly one bundle: one model serves at a time.", messages.ERROR)
            return
        stored = chosen[0]
        try:
            publishing.activate(stored)
        except publishing.ActivationError as error:
            self.message_user(request, f"{error} The model that served before goes on.", messages.ERROR)
        else:
            self.message_user(request, f"Run {stored.run_id} serves now.")

    def has_activate_permission(self, request: HttpRequest) -> bool:
        """All staff, as on the models' page."""
        return request.user.is_staff


@admin.register(Activation)
class ActivationAdmin(ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]  # generic in the stubs alone
    """Which model served when."""

    list_display = ("at", "bundle")
    list_select_related = ("bundle",)
    ordering = ("-pk",)


@admin.register(ApiToken)
class ApiTokenAdmin(ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]  # generic in the stubs alone
    """Tokens without what they are: made and rotated by `manage.py token`, revoked here too."""

    list_display = ("name", "scopes", "state", "created", "expires", "last_used")
    fields = ("name", "scopes", "created", "expires", "revoked", "last_used")
    actions = ("revoke",)

    @admin.action(description="Revoke: refuse from now on", permissions=["revoke"])
    def revoke(self, request: HttpRequest, chosen: QuerySet[ApiToken]) -> None:
        """Refuse these tokens from now on."""
        count = chosen.filter(revoked=None).update(revoked=timezone.now())
        self.message_user(request, f"{count} revoked.")

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        """Whoever may change tokens."""
        return request.user.has_perm("recommender.change_apitoken")
