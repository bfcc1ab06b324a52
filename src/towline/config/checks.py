"""What keys mean for each other: names that must exist, listeners that must not collide, routes that must not loop.

Each check yields problems. It sees the validated keys and, for places and for what was really written, the document.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterator, Sequence

from towline.config.document import Document, KeyPath
from towline.config.keys import FileKeys
from towline.config.values import MAX_SOCKS, Proxy, nearest
from towline.errors import Problem
from towline.types import Address, RouteKind

DIRECT = "direct"
"""The route that unlisted targets take where `policy.unlisted` is `direct`."""


def check(
    keys: FileKeys, document: Document, *, routes: Collection[str], builtin: Collection[str]
) -> Iterator[Problem]:
    """Every problem between keys; `routes` may be referred to, and so may the `builtin` registries and the file's."""
    yield from _listeners(keys, document)
    yield from _clients(keys, document)
    yield from _proxies(keys, document)
    yield from _logins(keys, document)
    yield from _name_servers(keys, document)
    yield from _unlisted(keys, document)
    yield from _references(keys, document, routes, {*builtin, *document.names("registries")})
    yield from _hosts(keys, document, builtin)


def leads_home(proxy: Address, listeners: Sequence[Address]) -> bool:
    """True where a proxy's address is one of our own listeners, as far as the text of the two shows."""
    host, port = proxy
    return any(port == own_port and _answers(own_host, host) for own_host, own_port in listeners)


def _answers(listener: str, host: str) -> bool:
    own = ipaddress.ip_address(listener)
    if host == "localhost":
        return own.is_loopback or own.is_unspecified
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return False
    return ip == own or (own.is_unspecified and ip.is_loopback) or (ip.is_unspecified and own.is_loopback)


def _listeners(keys: FileKeys, document: Document) -> Iterator[Problem]:
    """No two listeners on one port of one address; 0.0.0.0 and [::] are every address of their family."""
    taken: list[Address] = []
    for n, address in enumerate(keys.listen):
        if any(_collide(address, other) for other in taken):
            yield document.problem(("listen", n), "another entry listens there already")
        taken.append(address)
    if keys.admin is not None and any(_collide(keys.admin, other) for other in taken):
        yield document.problem(("admin",), "the proxy listens there already", "give admin a port of its own")
    if keys.admin is not None and keys.admin[1] in keys.policy.ports:
        # A proxy behind us that resolves names may find one for this machine: no name may be asked for with this port.
        yield document.problem(
            ("admin",), "policy.ports lets clients ask for this port", "give admin a port of its own"
        )


def _collide(one: Address, other: Address) -> bool:
    hosts = [ipaddress.ip_address(host) for host, _ in (one, other)]
    same = hosts[0] == hosts[1] or any(host.is_unspecified for host in hosts)
    return one[1] == other[1] and same and hosts[0].version == hosts[1].version


def _clients(keys: FileKeys, document: Document) -> Iterator[Problem]:
    """Who opens the proxy to other machines says to which, or to which users: the default refuses them all."""
    if ("access", "clients") in document.lines or keys.access.users_file is not None:
        return
    for n, (host, _) in enumerate(keys.listen):
        if not ipaddress.ip_address(host).is_loopback:
            yield document.problem(
                ("listen", n),
                "listens beyond this machine, but access.clients does not say for whom",
                'for Docker\'s default bridge: access: {clients: ["127.0.0.0/8", "::1/128", "172.17.0.0/16"]}',
            )


def _proxies(keys: FileKeys, document: Document) -> Iterator[Problem]:
    """No proxy that is Towline, and no key about a proxy where there is none: it would be read and then do nothing."""
    for name, route in (keys.routes or {}).items():
        path = ("routes", name)
        given = _given(document, path)
        if route.proxy and leads_home(route.proxy.address, keys.listen):
            yield document.problem((*path, "proxy"), "this is Towline's own address: it would dial itself")
        if "username" in given and "proxy" not in given:
            yield document.problem((*path, "username"), "there is no proxy to log in to", "add proxy")
        if "ca_file" in given and ("proxy" not in given or (route.proxy and route.proxy.kind is not RouteKind.HTTPS)):
            yield document.problem((*path, "ca_file"), "only an https proxy has a certificate to check")


def _logins(keys: FileKeys, document: Document) -> Iterator[Problem]:
    """One password with a user name that the proxy's protocol can carry."""
    for name, route in (keys.routes or {}).items():
        path = ("routes", name)
        given = _given(document, path)
        if route.username and route.proxy:
            yield from _username(route.username, route.proxy, (*path, "username"), document)
        passwords = [key for key in ("password_file", "password_env") if key in given]
        if len(passwords) > 1:
            yield document.problem((*path, passwords[1]), f"the password is given twice: {passwords[0]} has it too")
        if passwords and "username" not in given:
            yield document.problem((*path, passwords[0]), "a password without a user name", "add username")


def _name_servers(keys: FileKeys, document: Document) -> Iterator[Problem]:
    """No name server where the proxy resolves names, and none over UDP where there is a proxy in between."""
    for name, route in (keys.routes or {}).items():
        path = ("routes", name, "dns")
        if route.dns is None or route.proxy is None:
            continue
        if route.proxy.kind is not RouteKind.SOCKS5:
            hint = "leave dns out; over a socks5 proxy names are resolved here"
            yield document.problem(path, f"names are resolved by the {route.proxy.kind} proxy", hint)
        elif route.dns.scheme == "udp":
            hint = "use https://HOST/PATH, or a socks5h proxy, which resolves names itself"
            yield document.problem(path, "DNS over UDP does not pass through a proxy", hint)


def _given(document: Document, path: tuple[str, str]) -> Collection[str]:
    """The keys under a name that the operator gave a value, right or wrong: a wrong one is missing in the `keys`."""
    section, name = path
    return [key for key, value in (document.data[section][name] or {}).items() if value not in (None, [])]


def _username(username: str, proxy: Proxy, path: KeyPath, document: Document) -> Iterator[Problem]:
    """What the proxy's protocol cannot carry."""
    if proxy.is_socks and len(username.encode()) > MAX_SOCKS:
        yield document.problem(path, f"longer than the {MAX_SOCKS} bytes that SOCKS5 carries")
    if not proxy.is_socks and ":" in username:
        yield document.problem(path, "a user name for an http proxy has no colon (RFC 7617 section 2)")


def _unlisted(keys: FileKeys, document: Document) -> Iterator[Problem]:
    direct = (keys.routes or {}).get(DIRECT)
    if keys.policy.unlisted == DIRECT and direct is not None and direct.disabled:
        yield document.problem(
            ("routes", DIRECT, "disabled"),
            "unlisted targets go over this route",
            "enable it, or set policy.unlisted to route or deny",
        )


def _references(
    keys: FileKeys, document: Document, routes: Collection[str], registries: Collection[str]
) -> Iterator[Problem]:
    for name, route in (keys.routes or {}).items():
        path = ("routes", name, "registries")
        yield from _unknown(document, path, route.registries or (), "registry", registries)
    for name, registry in (keys.registries or {}).items():
        path = ("registries", name, "routes")
        yield from _unknown(document, path, registry.routes or (), "route", routes)


def _unknown(
    document: Document, path: KeyPath, names: Sequence[str], what: str, known: Collection[str]
) -> Iterator[Problem]:
    for n, name in enumerate(names):
        if name not in known:
            yield document.problem((*path, n), f"there is no {what} of this name", nearest(name, known))


def _hosts(keys: FileKeys, document: Document, builtin: Collection[str]) -> Iterator[Problem]:
    """A host belongs to one registry, and a registry that is not built in has one at least."""
    owner: dict[str, str] = {}
    for name, registry in (keys.registries or {}).items():
        path = ("registries", name)
        roles = {"api": registry.api, "auth": registry.auth, "blob": registry.blob}
        for role, patterns in roles.items():
            for n, pattern in enumerate(patterns):
                if owner.setdefault(pattern, name) != name:
                    yield document.problem((*path, role, n), f"this host belongs to {owner[pattern]} already")
        if name not in builtin and not roles.keys() & _given(document, path):
            yield document.problem(path, "no such registry is built in, and no host is given", nearest(name, builtin))
