"""Map the addresses of the evaluator's side and of enrolment links; the token is the credential."""

from __future__ import annotations

from django.urls import path, register_converter

from evenhand.studies.rating import joining, views

app_name = "rating"


class TokenConverter:
    """Matches a token's characters; an address with any other is not found."""

    regex = r"[A-Za-z0-9_.-]{1,80}"

    def to_python(self, value: str) -> str:
        return value

    def to_url(self, value: str) -> str:
        return value


register_converter(TokenConverter, "token")

urlpatterns = [
    path("<token:token>/", views.home, name="home"),
    path("<token:token>/consent/", views.give_consent, name="consent"),
    path("<token:token>/rate/", views.rate, name="rate"),
    path("<token:token>/feedback/", views.feedback, name="feedback"),
    path("<token:token>/go-on/", views.leave_step, name="leave_step"),
    path("<token:token>/comprehension/", views.comprehension, name="comprehension"),
    path("<token:token>/example/<slug:side>", views.example, name="example"),
    path("<token:token>/skip/", views.skip, name="skip"),
    path("<token:token>/withdraw/", views.leave, name="withdraw"),
    path("<token:token>/t/<uuid:trial>/left", views.picture, {"side": "left"}, name="left"),
    path("<token:token>/t/<uuid:trial>/right", views.picture, {"side": "right"}, name="right"),
]

enrolment = ([path("<token:token>/", joining.join, name="join")], "enrolment")  # under an address of their own
