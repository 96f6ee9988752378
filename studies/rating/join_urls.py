"""Addresses of the links that enrol."""

from __future__ import annotations

from django.urls import path

from evenhand.studies.rating import joining, urls  # noqa: F401  (it registers the token's converter)

app_name = "enrolment"

urlpatterns = [path("<token:token>/", joining.join, name="join")]
