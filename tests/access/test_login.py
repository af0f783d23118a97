"""Logging in to pages: sessions and their cookies, forms of other sites' pages, and the way through a provider."""

import asyncio
import datetime as dt
import re
import secrets
from urllib.parse import parse_qs, urlsplit

import pytest
import sqlalchemy as sa
from joserfc.jwk import RSAKey
from support.app_client import Client
from support.provider import running_provider

from dicomnlp.audit.events import Kind, Outcome
from dicomnlp.errors import ConfigurationError
from dicomnlp.serve.app import create_app
from dicomnlp.serve.login import STATE_COOKIE, local_path
from dicomnlp.serve.login_oidc import OIDC
from dicomnlp.store.keys import revoke_key
from dicomnlp.store.schema_access import web_session

PAGE = {"Accept": "text/html"}
SESSION = "dicomnlp_session"


class Browser:
    """Keeps cookies, names its origin as browsers do, and reads tokens out of forms."""

    def __init__(self, client):
        self.client, self.cookies = client, {}

    def request(self, method, path, **arguments):
        """One request; cookies that the answer sets are kept."""
        headers = {**PAGE, **arguments.pop("headers", {})}
        answer = self.client.request(method, path, cookies=self.cookies, headers=headers, **arguments)
        for name, value in answer.cookies.items():
            self.cookies[name] = value
        for line in answer.headers.get_list("set-cookie"):
            if "Max-Age=0" in line:
                self.cookies.pop(line.partition("=")[0], None)
        return answer

    def get(self, path, **arguments):
        """A page."""
        return self.request("GET", path, **arguments)

    def token(self, path="/login"):
        """The token of a form of that page."""
        found = re.search(r'name="csrf_token" value="([^"]+)"', self.get(path).text)
        return found[1]

    def send(self, path, form, *, origin="http://127.0.0.1:8080", page="/login", **arguments):
        """A form, as this service's own page sends it."""
        data = {"csrf_token": self.token(page), **form}
        return self.request("POST", path, data=data, headers={"Origin": origin} if origin else {}, **arguments)

    def log_in(self, key, path="/"):
        """Log in by a key."""
        return self.send("/login", {"key": key, "next": path})


@pytest.fixture
def browser(client):
    """A browser without cookies."""
    return Browser(client)


def set_cookie(answer, name):
    """The line that sets a cookie."""
    return next(line for line in answer.headers.get_list("set-cookie") if line.startswith(f"{name}="))


def test_page_without_a_login_leads_there_and_back(browser, make_key, north):
    """With the query that was asked; programs get 401 instead."""
    answer = browser.get("/search?modality=CT")
    assert (answer.status_code, answer.headers["location"]) == (303, "/login?next=%2Fsearch%3Fmodality%3DCT")
    form = browser.get(answer.headers["location"])
    assert 'value="/search?modality=CT"' in form.text
    answer = browser.log_in(make_key(), "/search?modality=CT")
    assert (answer.status_code, answer.headers["location"]) == (303, "/search?modality=CT")
    assert browser.get("/").status_code == 200
    assert browser.client.get("/", cookies={}).status_code == 401
    assert browser.client.get("/api/v1/status", headers=PAGE).status_code == 401


def test_session_cookie_is_for_this_service_alone(browser, make_key, database):
    """Out of scripts' reach, not sent along from other sites, and in the database only as a hash."""
    answer = browser.log_in(make_key())
    line = set_cookie(answer, SESSION)
    assert "HttpOnly" in line
    assert "SameSite=strict" in line
    assert "Path=/" in line
    assert "Secure" not in line
    with database.read() as connection:
        row = connection.execute(sa.select(web_session)).mappings().one()
    assert not any(browser.cookies[SESSION] in str(value) for value in row.values())


@pytest.mark.parametrize(
    "keys",
    [{"certificate": "web.pem", "key": "web.key"}, {"oidc": {"public_url": "https://findings.example"}}],
    ids=["own certificate", "behind a proxy"],
)
def test_cookies_are_secure_where_browsers_come_by_https(make_settings, database, make_key, keys):
    """With a certificate of its own, or behind a proxy whose address is known."""
    browser = Browser(make_client(create_app(make_settings(**keys), lambda: database)))
    assert "Secure" in set_cookie(browser.log_in(make_key()), SESSION)


def test_login_makes_a_new_session_each_time(browser, make_key):
    """A cookie that somebody planted before is not the one of the session (no fixation)."""
    browser.cookies[SESSION] = planted = "planted"
    browser.log_in(make_key())
    assert browser.cookies[SESSION] != planted
    assert len(browser.cookies[SESSION]) >= 43


def test_logout_ends_the_session_on_the_server(browser, make_key, trail):
    """Whoever kept the cookie can't go on with it."""
    browser.log_in(make_key(name="anna"))
    kept = dict(browser.cookies)
    answer = browser.send("/logout", {}, page="/")
    assert (answer.status_code, answer.headers["location"]) == (303, "/login")
    assert browser.client.get("/", cookies=kept, headers=PAGE).status_code == 303
    assert [row.action for row in trail(kind=Kind.LOGIN)] == ["login by key", "logout"]


def test_wrong_key_is_told_in_the_form_and_recorded(browser, trail):
    """Without saying what was wrong with it, and never with the key itself."""
    answer = browser.log_in("dnk_wrong")
    assert answer.status_code == 401
    assert "dnk_wrong" not in answer.text
    assert 'role="alert"' in answer.text
    (row,) = trail(kind=Kind.LOGIN)
    assert (row.outcome, row.principal) == (Outcome.REFUSED, "unknown")


def test_session_ends_when_idle_and_at_its_end(browser, make_key, database, settings):
    """Half an hour unused, or twelve hours in any case."""
    columns = web_session.c
    now = dt.datetime.now(dt.UTC)
    for change in (
        {"last_seen_at": now - dt.timedelta(minutes=settings.web.session_idle_minutes, seconds=1)},
        {"expires_at": now - dt.timedelta(seconds=1)},
    ):
        browser.cookies.clear()
        browser.log_in(make_key(name=f"key {secrets.token_hex(2)}"))
        assert browser.get("/").status_code == 200
        with database.write() as connection:
            connection.execute(sa.update(web_session).values({columns[name]: value for name, value in change.items()}))
        assert browser.get("/").status_code == 303


def test_use_keeps_a_session_alive(browser, make_key, database):
    """The moment it was last seen goes on."""
    browser.log_in(make_key())
    before = dt.datetime.now(dt.UTC) - dt.timedelta(minutes=20)
    with database.write() as connection:
        connection.execute(sa.update(web_session).values(last_seen_at=before))
    assert browser.get("/").status_code == 200
    with database.read() as connection:
        assert connection.scalar(sa.select(web_session.c.last_seen_at)) > before


def test_session_ends_with_the_key_that_opened_it(browser, make_key, database):
    """At once: sessions are looked up each time."""
    browser.log_in(make_key(name="anna"))
    revoke_key(database, "anna")
    assert browser.get("/").status_code == 303


def test_session_has_the_scope_of_its_key(browser, make_key, north, south):
    """Pages are scoped as programs' answers are."""
    browser.log_in(make_key(titles=[north.title]))
    assert browser.get(f"/studies/{north.study}").status_code == 200
    assert browser.get(f"/studies/{south.study}").status_code == 404


FORGED = [
    ("another site", {"Origin": "https://evil.example"}, True, 403),
    ("another port", {"Origin": "http://127.0.0.1:9999"}, True, 403),
    ("a subdomain's look-alike", {"Origin": "http://127.0.0.1:8080.evil.example"}, True, 403),
    ("a sandboxed frame", {"Origin": "null"}, True, 403),
    ("no origin", {}, True, 403),
    ("no token", {"Origin": "http://127.0.0.1:8080"}, False, 403),
    ("its own page", {"Origin": "http://127.0.0.1:8080"}, True, 303),
]


@pytest.mark.parametrize(("headers", "with_token", "status"), [f[1:] for f in FORGED], ids=[f[0] for f in FORGED])
def test_forms_of_other_sites_pages_are_refused(browser, make_key, headers, with_token, status):
    """A browser sends the cookie along: origin and token have to be right as well (T21)."""
    browser.log_in(make_key("operator"))
    data = {"csrf_token": browser.token("/status")} if with_token else {}
    answer = browser.request("POST", "/status/retry", data=data, headers={**headers, "Accept": "*/*"})
    assert answer.status_code == status
    if status == 403:
        assert answer.json()["reason_code"] == "foreign_origin"


def test_token_of_another_session_is_refused(client, make_key):
    """It is bound to the session."""
    one, other = Browser(client), Browser(client)
    one.log_in(make_key("operator", name="one"))
    other.log_in(make_key("operator", name="other"))
    form = {"csrf_token": other.token("/status")}
    headers = {"Origin": "http://127.0.0.1:8080"}
    assert one.request("POST", "/status/retry", data=form, headers=headers).status_code == 403


def test_api_with_a_cookie_needs_the_token_too(browser, make_key):
    """A script of this service's own page sends it as a header; a key needs none."""
    key = make_key("operator")
    browser.log_in(key)
    body = {"everything": True}
    origin = {"Origin": "http://127.0.0.1:8080"}
    assert browser.request("POST", "/api/v1/reprocess", json=body, headers=origin).status_code == 403
    token = {"X-CSRF-Token": browser.token("/status")}
    assert browser.request("POST", "/api/v1/reprocess", json=body, headers=origin | token).status_code == 202
    assert browser.client.post("/api/v1/reprocess", key=key, json=body).status_code == 202


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:8080.evil.example"])
def test_without_authentication_forms_of_other_sites_are_refused_all_the_same(make_settings, database, origin):
    """Who sits at this machine is everybody there: a stranger's page in their browser must not be (T21)."""
    client = make_client(create_app(make_settings(authentication="off"), lambda: database))
    json_body = {"everything": True}
    refused = client.post("/api/v1/reprocess", json=json_body, headers={"Origin": origin})
    assert (refused.status_code, refused.json()["reason_code"]) == (403, "foreign_origin")
    assert client.post("/api/v1/reprocess", json=json_body).status_code == 202
    assert client.post("/status/retry", data={}, headers={"Accept": "*/*"}).status_code == 403
    browser = Browser(client)
    form = {"csrf_token": browser.token("/status")}
    assert browser.request("POST", "/status/retry", data=form).status_code == 303


@pytest.mark.parametrize(
    "path",
    ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)", "", "/a\nb", "evil", "/x\\y"],
)
def test_login_leads_to_no_other_site(path):
    """Only a path of this service is gone to."""
    assert local_path(path) == "/"


def test_login_goes_back_to_paths_of_its_own():
    """With their queries."""
    assert local_path("/studies/1.2.3?lang=zh") == "/studies/1.2.3?lang=zh"


def test_pages_of_the_login_have_the_security_headers(browser):
    """No script, no frame, nothing cached."""
    answer = browser.get("/login")
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] == "no-store"
    assert "<script>" not in answer.text


@pytest.fixture
def provider():
    """A provider that runs."""
    with running_provider() as server:
        yield server


@pytest.fixture
def oidc(provider):
    """Keys of [oidc] for it."""
    return {
        "issuer": provider.issuer,
        "client_id": "dicomnlp",
        "public_url": "http://127.0.0.1:8080",
        "roles": {"chiefs": "admin", "radiologists": "reader", "science": "researcher"},
    }


@pytest.fixture
def visitor(make_settings, database, oidc):
    """A browser without a login, at a service with a provider."""
    return Browser(make_client(create_app(make_settings(oidc), lambda: database)))


def make_client(app):
    """A client of an application."""
    return Client(app)


def begin(visitor, provider, path="/login/provider?next=%2Fsearch"):
    """Go to the provider; the state that it is to send back."""
    answer = visitor.get(path)
    assert answer.status_code == 303
    target = urlsplit(answer.headers["location"])
    assert f"{target.scheme}://{target.netloc}" == provider.issuer
    provider.asked = {name: values[0] for name, values in parse_qs(target.query).items()}
    return provider.asked["state"]


def test_login_by_the_provider(visitor, provider, trail, north):
    """Code flow with PKCE, state and nonce; then a session, and a page that leads on."""
    state = begin(visitor, provider)
    assert provider.asked["response_type"] == "code"
    assert provider.asked["code_challenge_method"] == "S256"
    assert provider.asked["redirect_uri"] == "http://127.0.0.1:8080/login/callback"
    assert "openid" in provider.asked["scope"].split()
    answer = visitor.get(f"/login/callback?code=code&state={state}")
    assert answer.status_code == 200
    assert '<meta http-equiv="refresh" content="0; url=/search">' in answer.text
    assert "SameSite=strict" in set_cookie(answer, SESSION)
    assert STATE_COOKIE not in visitor.cookies
    page = visitor.get("/")
    assert page.status_code == 200
    assert "oidc:anna" in page.text
    row = trail(kind=Kind.LOGIN)[-1]
    assert (row.principal, row.role, row.outcome) == ("oidc:anna", "reader", Outcome.SUCCESS)


def test_state_is_for_one_browser_and_one_time(visitor, provider, trail):
    """A way back that this browser didn't begin, or has gone already, logs nobody in."""
    state = begin(visitor, provider)
    stranger = Browser(visitor.client)
    assert stranger.get(f"/login/callback?code=code&state={state}").status_code == 403
    assert visitor.get(f"/login/callback?code=code&state={state}x").status_code == 403
    state = begin(visitor, provider)
    cookies = dict(visitor.cookies)
    assert visitor.get(f"/login/callback?code=code&state={state}").status_code == 200
    again = Browser(visitor.client)
    again.cookies = cookies
    assert again.get(f"/login/callback?code=code&state={state}").status_code == 403
    assert SESSION not in again.cookies
    assert {row.action for row in trail(outcome=Outcome.REFUSED)} == {"login by provider: state_unknown"}


now = dt.datetime.now(dt.UTC).timestamp()
LIES = [
    ("another nonce", {"nonce": "other"}, "token_refused"),
    ("no nonce", {"nonce": None}, "token_refused"),
    ("another audience", {"aud": "other"}, "token_refused"),
    ("several audiences, issued for another", {"aud": ["dicomnlp", "other"], "azp": "other"}, "token_refused"),
    ("another issuer", {"iss": "https://evil.example"}, "token_refused"),
    ("expired", {"exp": int(now) - 3600}, "token_refused"),
    ("no end", {"exp": None}, "token_refused"),
    ("nobody", {"sub": None}, "token_refused"),
    ("no role", {"roles": ["cleaners"]}, "no_role"),
    ("no roles claim", {"roles": None}, "no_role"),
    ("a role of another form", {"roles": {"radiologists": True}}, "no_role"),
]


@pytest.mark.parametrize(("lies", "reason"), [lie[1:] for lie in LIES], ids=[lie[0] for lie in LIES])
def test_token_that_is_not_for_this_login_is_refused(visitor, provider, trail, lies, reason):
    """Each claim that is checked, wrong alone."""
    provider.lies = lies
    state = begin(visitor, provider)
    answer = visitor.get(f"/login/callback?code=code&state={state}")
    assert answer.status_code == 403
    assert SESSION not in visitor.cookies
    assert trail()[-1].action == f"login by provider: {reason}"


def test_token_with_another_signature_is_refused(visitor, provider):
    """By a key that isn't the provider's; by none; by its public key as a shared secret."""
    provider.signing_key = RSAKey.generate_key(2048, parameters={"kid": "one"})
    state = begin(visitor, provider)
    assert visitor.get(f"/login/callback?code=code&state={state}").status_code == 403
    provider.signing_key = provider.key
    real = provider.id_token
    provider.id_token = lambda: "eyJhbGciOiJub25lIn0." + real().split(".")[1] + "."
    state = begin(visitor, provider)
    assert visitor.get(f"/login/callback?code=code&state={state}").status_code == 403
    assert SESSION not in visitor.cookies


def test_provider_that_fails_is_told_and_recorded(visitor, provider, trail):
    """A code that it refuses, and a description of another issuer."""
    state = begin(visitor, provider)
    assert visitor.get(f"/login/callback?code=wrong&state={state}").status_code == 403
    assert trail()[-1].action == "login by provider: provider_failed"
    state = begin(visitor, provider)
    assert visitor.get(f"/login/callback?error=access_denied&state={state}").status_code == 403
    assert trail()[-1].action == "login by provider: provider_refused"


def test_description_of_another_issuer_is_refused(visitor, provider):
    """OpenID Connect Discovery 4.3: the issuer has to be the one that was asked."""
    provider.lies = {"issuer": "https://evil.example"}
    assert visitor.get("/login/provider").status_code == 403


def test_new_keys_of_the_provider_are_taken_at_the_next_try(visitor, provider):
    """They are kept for minutes, but not longer than they work."""
    state = begin(visitor, provider)
    assert visitor.get(f"/login/callback?code=code&state={state}").status_code == 200
    provider.key = provider.signing_key = RSAKey.generate_key(2048, parameters={"kid": "one"})
    answers = []
    for _ in range(2):
        state = begin(visitor, provider)
        answers.append(visitor.get(f"/login/callback?code=code&state={state}").status_code)
    assert answers == [403, 200]


CLAIMS = [
    ("first role that fits", {"roles": ["radiologists", "chiefs"]}, {}, ("admin", None, None)),
    ("one role as text", {"roles": "science"}, {}, ("researcher", None, None)),
    (
        "scope",
        {"sites": ["NORTH", "EAST"], "clinics": "North Clinic"},
        {"calling_ae_titles_claim": "sites", "institutions_claim": "clinics"},
        ("reader", {"NORTH", "EAST"}, {"North Clinic"}),
    ),
    ("all sites", {"sites": ["*"]}, {"calling_ae_titles_claim": "sites"}, ("reader", None, None)),
    # who has no claim of that kind sees nothing, rather than all
    ("no sites", {}, {"calling_ae_titles_claim": "sites"}, ("reader", set(), None)),
    ("another claim for roles", {"groups": ["chiefs"]}, {"role_claim": "groups"}, ("admin", None, None)),
]


@pytest.mark.parametrize(("claims", "keys", "expected"), [c[1:] for c in CLAIMS], ids=[c[0] for c in CLAIMS])
def test_claims_become_role_and_scope(make_settings, provider, oidc, claims, keys, expected):
    """By the tables of the configuration."""
    provider.claims |= claims
    client = OIDC(make_settings(oidc | keys))

    async def log_in():
        begun = await client.begin("/")
        provider.asked = {n: v[0] for n, v in parse_qs(urlsplit(begun.address).query).items()}
        return await client.finish("code", begun.login)

    session = asyncio.run(log_in())
    role, titles, institutions = expected
    assert session.role == role
    assert session.scope.calling_ae_titles == titles
    assert session.scope.institutions == institutions


def test_client_with_a_secret_shows_it_in_the_header(make_settings, provider, oidc, tmp_path):
    """From a file that others may not read; the secret is in no address and no body."""
    file = tmp_path / "secret"
    file.write_text("s3cret:of the client\n")
    settings = make_settings(oidc | {"client_secret_file": str(file)})
    file.chmod(0o644)
    with pytest.raises(ConfigurationError, match="others may read"):
        OIDC(settings)
    file.chmod(0o600)
    client = OIDC(settings)

    async def log_in():
        begun = await client.begin("/")
        assert "s3cret" not in begun.address
        provider.asked = {n: v[0] for n, v in parse_qs(urlsplit(begun.address).query).items()}
        return await client.finish("code", begun.login)

    asyncio.run(log_in())
    form, authorization = provider.token_requests[-1]
    assert authorization.startswith("Basic ")
    assert "client_id" not in form
    assert "s3cret" not in str(form)
