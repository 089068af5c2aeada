"""The HTTP service, `autointerp serve`. A file here is a router: `/v1` and the pages.

A module without an underscore has a `router`, a `fastapi.APIRouter`; `_app.build_app` mounts it, in
no list. Every route takes one of three dependencies, which say who may call it:

    from autointerp.apps.service._access import Owner, Rater, Viewer

    @router.get("/rate/next")
    def next_item(rater: Rater) -> Shown:
        rater.run      # the run's folder, such as runs/main
        rater.name     # `human:ann`, as in the ratings
        rater.csrf     # for a page's <meta name="csrf" content="…">

    Owner    may change things; a GET by a Viewer's token is refused (403)
    Viewer   may read everything; an owner is a viewer, too
    Rater    rates one run; neither an owner nor a viewer is one. `rater.details` holds what the
             invitation gave by name (texts): `_tokens.Tokens.issue(..., details={...})`

A link is any page's address with `?token=…`: the service puts the token into a cookie (HttpOnly,
SameSite) and redirects to the same address without it; other parameters stay. Tokens are issued
into `runs/.service/tokens.json` by any process (`_tokens.Tokens(runs).issue(role="rater", …)`); a
server that runs takes them up at once. Raters have a cookie of their own, so that an owner can
open an invitation without losing the own pages.

Writing requests by cookie carry the page's csrf text as the header `X-CSRF-Token`; `assets/
service.js` has `send(method, path, body)`, which does that. Requests by `Authorization: Bearer`
need none. Host, Origin, sizes and rates are checked before any route (`_gate`), and every answer
carries a Content-Security-Policy without inline script: scripts and styles are files, served to
whoever has a token (`_pages.asset`). A rater's pages serve their own under /rate/.

Errors are `application/problem+json` with one line and a remedy (`_problems`): an AutointerpError
from below becomes one by itself; `Problem(409, "…; remedy")` is raised for what is new here. A
rater is told no line of an AutointerpError, which may name a source; raise `Problem` for raters.

    _access     dependencies, cookies, csrf         _app        the application and the server
    _gate       hosts, origins, sizes, rates, log   _tokens     tokens, stored hashed
    _problems   errors                              _pages      templates and assets
"""
