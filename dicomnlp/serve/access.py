"""Who asks, and what they may: roles, scopes, and the dependency by which every route says whom it answers.

A route names the roles that it is for and gets the principal; what it asks of the store it asks `within` the
principal's scope. Each request that passed here leaves a row in the audit trail before its answer goes out (`gate`).
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.openapi.models import HTTPBearer as BearerModel
from fastapi.security.base import SecurityBase

from dicomnlp.audit.events import AuditEvent, Kind, Outcome, recorded
from dicomnlp.serve.problems import ProblemError
from dicomnlp.store.scope import EVERYTHING, Scope

__all__ = [
    "LOCAL",
    "Audited",
    "ForAdmins",
    "ForAnybody",
    "ForOperators",
    "ForReaders",
    "ForResearchers",
    "LoginNeededError",
    "Principal",
    "Requirement",
    "Role",
    "Scope",
    "address_of",
    "audited",
    "csrf_token",
    "require",
]


class Role(StrEnum):
    """What somebody is here for."""

    READER = "reader"
    """Sees reports and findings."""
    RESEARCHER = "researcher"
    """Sees findings and cleaned text, but nobody's identity."""
    OPERATOR = "operator"
    """A reader who also runs the service: has reports analysed again, sees failures and metrics."""
    ADMIN = "admin"
    """May do everything."""


_COVERED_BY = {
    Role.READER: {Role.READER, Role.OPERATOR, Role.ADMIN},
    Role.RESEARCHER: {Role.RESEARCHER},
    Role.OPERATOR: {Role.OPERATOR, Role.ADMIN},
    Role.ADMIN: {Role.ADMIN},
}


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks."""

    name: str
    role: Role
    scope: Scope = EVERYTHING

    @property
    def sees_identities(self) -> bool:
        """Whether identifiers, names and the reports' own words are for them."""
        return self.role is not Role.RESEARCHER

    @property
    def changes_what_others_keep(self) -> bool:
        """Whether cohorts of others may be replaced and forgotten."""
        return self.role in (Role.OPERATOR, Role.ADMIN)


LOCAL = Principal("local", Role.ADMIN)
"""Everybody, where authentication is off; then only this machine can ask."""


class LoginNeededError(Exception):
    """A page is asked for, and nobody is logged in; `args[0]` is where to go for that, with the way back."""


@dataclass(slots=True)
class Audited:
    """What the trail will say of a request; the route may make it more exact."""

    kind: Kind
    action: str
    principal: str
    role: str
    address: str
    study_instance_uid: str | None = None
    query: dict[str, str] | None = None
    count: int | None = None

    def event(self, status: int) -> AuditEvent:
        """The event, now that the answer's status is known."""
        outcome = Outcome.SUCCESS if status < 400 else Outcome.REFUSED if status < 500 else Outcome.FAILED
        return AuditEvent(
            self.kind,
            self.principal,
            self.address,
            outcome,
            self.study_instance_uid,
            self.query,
            self.count,
            self.action,
            self.role,
        )


def audited(
    request: Request,
    kind: Kind | None = None,
    *,
    study_instance_uid: str | None = None,
    query: Iterable[tuple[str, str]] | None = None,
    count: int | None = None,
) -> None:
    """Say more exactly what the audit trail records of this request; what isn't given stays.

    Without it a GET is a query with its parameters, of the study that the path names, anything else an admin action.
    """
    about: Audited = request.state.audited
    about.kind = kind or about.kind
    about.study_instance_uid = study_instance_uid or about.study_instance_uid
    about.query = recorded(query) if query is not None else about.query
    about.count = count if count is not None else about.count


@dataclass(frozen=True)
class Requirement(SecurityBase):
    """A dependency: the principal of a request, who has one of `roles`; made by `require`.

    Raises
    ------
    ProblemError
        not_authenticated, not_allowed, foreign_origin, too_many_failures or too_many_requests.
    """

    roles: frozenset[Role]
    is_audited: bool
    model: Any = field(
        default_factory=lambda: BearerModel(description="API key, made by `dicomnlp keys add`."), compare=False
    )
    scheme_name: str = "api_key"

    async def __call__(self, request: Request) -> Principal:
        """The principal; from here on the request will be in the trail, if the route is audited."""
        principal: Principal = await request.app.state.access.identify(request)
        # before the trail: a flood must not fill it
        _check_rate(request, principal)
        about = _first_words(request, principal)
        if self.is_audited:
            request.state.audited = about
        if principal.role not in self.roles:
            request.state.audited = about
            raise ProblemError("not_allowed")
        return principal


def require(*roles: Role, is_audited: bool = True) -> Requirement:
    """The dependency of a route that is for `roles`; reader includes operator and admin, operator includes admin.

    Parameters
    ----------
    roles
        At least one. `Role.RESEARCHER` only where the route keeps identities back from who doesn't see them.
    is_audited
        False only for what shows nothing of any patient, such as status and metrics.
    """
    return Requirement(frozenset().union(*(_COVERED_BY[role] for role in roles)), is_audited)


def _check_rate(request: Request, principal: Principal) -> None:
    """Refuse what is more than one principal may ask for; where nobody is known, one address."""
    who = f"address {address_of(request)}" if principal is LOCAL else f"principal {principal.name}"
    seconds: float = request.app.state.rate_limit.spend(who)
    if seconds > 0:
        raise ProblemError("too_many_requests", headers={"Retry-After": str(math.ceil(seconds))})


def _first_words(request: Request, principal: Principal) -> Audited:
    study = request.path_params.get("study_instance_uid")
    of_report = "sop_instance_uid" in request.path_params
    if request.method not in {"GET", "HEAD"}:
        kind = Kind.ADMIN
    else:
        kind = Kind.VIEW if study is not None or of_report else Kind.QUERY
    named = [(name, str(value)) for name, value in request.path_params.items() if name != "study_instance_uid"]
    return Audited(
        kind,
        f"{request.method} {request.scope['route'].path}",
        principal.name,
        principal.role.value,
        address_of(request),
        study,
        recorded([*named, *request.query_params.multi_items()]),
    )


def address_of(request: Request) -> str:
    """The network address that a request comes from, "" where there is none."""
    return request.client.host if request.client else ""


def csrf_token(request: Request) -> str:
    """What a form of a page has to carry as the field `csrf_token`, or a script's request as X-CSRF-Token."""
    token: str = request.app.state.access.csrf_token(request)
    return token


ForReaders = Annotated[Principal, Depends(require(Role.READER))]
ForResearchers = Annotated[Principal, Depends(require(Role.READER, Role.RESEARCHER))]
"""Readers, and researchers, from whom the route keeps identities back (`access_identities`)."""
ForAnybody = Annotated[Principal, Depends(require(Role.READER, Role.RESEARCHER, is_audited=False))]
"""Whoever is known; for what shows nothing of any patient, and leaves no row in the trail."""
ForOperators = Annotated[Principal, Depends(require(Role.OPERATOR))]
ForAdmins = Annotated[Principal, Depends(require(Role.ADMIN))]
"""The parameter `principal` of a route."""
