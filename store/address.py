"""One Redis address, taken apart: where the server is, how we log in, and how its certificate is checked.

`docs/SCALE_OUT.md` has the forms and options. An address may hold a password, also where it is written wrongly. So no
message about a wrong address repeats any part of it: every text here is made of constants.
"""

import difflib
import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from flotilla.store.tls import Tls

SCHEMES = ("redis", "rediss", "unix", "redis+sentinel", "redis+cluster", "memory")
_AS_OURS = {  # what else an address may begin with → its scheme here, and the option that it means
    "valkey": ("redis", ""),
    "valkeys": ("rediss", ""),
    "valkey+sentinel": ("redis+sentinel", ""),
    "valkey+cluster": ("redis+cluster", ""),
    "rediss+sentinel": ("redis+sentinel", "tls=1"),
    "rediss+cluster": ("redis+cluster", "tls=1"),
    "valkeys+sentinel": ("redis+sentinel", "tls=1"),
    "valkeys+cluster": ("redis+cluster", "tls=1"),
}
MEMORY = "memory://"
"""The address of the engine in the process (`flotilla.store.in_process`)."""
PORT = 6379
SENTINEL_PORT = 26379
SHARDS = 12  # of a cluster, unless its address says another number: as many on each of 1, 2, 3, 4, 6 or 12 masters
MAX_SHARDS = 256
SLOTS = 16384  # of a Redis Cluster

_TLS = ("ca", "cert", "key", "check_hostname", "verify")
OPTIONS = {
    "redis": ("db",),
    "rediss": ("db", *_TLS),
    "unix": ("db", "username", "password"),
    "memory": (),
    "redis+sentinel": ("db", "tls", "sentinel_tls", "sentinel_username", "sentinel_password", *_TLS),
    "redis+cluster": ("shards", "tls", *_TLS, "slot"),
}
_AS_REDIS_PY = {  # how the client library calls them, as addresses written for it do
    "ssl_ca_certs": "ca",
    "ssl_certfile": "cert",
    "ssl_keyfile": "key",
    "ssl_check_hostname": "check_hostname",
    "ssl_cert_reqs": "verify",
}
_TRUE = {"1", "true", "yes", "on", "required"}
_FALSE = {"0", "false", "no", "off", "none"}

_SCHEME = re.compile(r"([a-z+]+)://")
_FORM = re.compile(r"(?:([^@/?#]*)@)?([^@/?#]*)(/[^@?#]*)?(?:\?([^@#]*))?")
_HOST = re.compile(r"(?:\[([^\[\]]*)\]|([^\[\]:]*))(?::([^:]*))?")
_BLANK = re.compile(r"[\s\x00-\x20\x7f]")

ENCODE = "percent-encode what is special in a user name or password: `/` is %2F, `?` %3F, `#` %23, `@` %40, `:` %3A"


class WrongAddress(ValueError):
    """An address that cannot be used. The text says why and what to write, and repeats nothing of the address."""


class Url(str):
    """An address as it was written, whose `repr` does not show it: no log has a password by accident."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'redis address (not shown, for it may hold a password)'"


def as_ours(url: str) -> Url:
    """An address in one of `SCHEMES`: what begins as Valkey's do, or with `rediss+`, written as ours."""
    scheme = _SCHEME.match(url)
    if scheme is None or scheme[1] not in _AS_OURS:
        return Url(url)
    ours, option = _AS_OURS[scheme[1]]
    rest = url[scheme.end() :]
    if option:
        rest += ("&" if "?" in rest else "?") + option
    return Url(f"{ours}://{rest}")


@dataclass(frozen=True, slots=True)
class Login:
    """What we log in with. `password` None: we do not log in."""

    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)

    def options(self) -> dict[str, Any]:
        """As arguments of redis-py's connections."""
        return {} if self.password is None else {"username": self.username, "password": self.password}


@dataclass(frozen=True, slots=True)
class Address:
    """Where a Redis is: a `path`, one of `hosts`, what the sentinels in `hosts` call `master`, or in this process.

    Or a cluster, of which `hosts` are some nodes and which is used as so many `shards` (0: it is none); with a `slot`,
    the master that has that one.
    """

    hosts: tuple[tuple[str, int], ...] = ()
    path: str = ""
    master: str = ""
    db: int = 0
    login: Login = Login()
    tls: Tls | None = None
    sentinel_login: Login = Login()
    sentinel_tls: Tls | None = None
    in_process: bool = False
    shards: int = 0
    slot: int | None = None

    @property
    def guided(self) -> bool:
        """Whether the hosts only say where the Redis is."""
        return bool(self.master or self.shards)

    @property
    def data(self) -> tuple[Any, ...]:
        """Which data this is: equal for two addresses of the same database."""
        return (frozenset(self.hosts), self.path, self.master, self.db, self.in_process, self.slot)


def parse(url: str) -> Address:
    """The parts of an address. Raises WrongAddress."""
    scheme = _SCHEME.match(url)
    if scheme is None or scheme[1] not in SCHEMES:
        raise WrongAddress(f"the scheme must be one of {', '.join(f'{known}://' for known in SCHEMES)}")
    if _BLANK.search(url):
        raise WrongAddress(f"there is a space in it; {ENCODE}, a space %20")
    form = _FORM.fullmatch(url, scheme.end())
    if form is None:
        raise WrongAddress(f"it cannot be parsed; {ENCODE}")
    login, hosts, path, query = form.groups()
    options = _options(scheme[1], query or "")
    if scheme[1] == "memory":
        if url != MEMORY:
            raise WrongAddress(f"the engine in the process is written {MEMORY}, and nothing more")
        return Address(in_process=True)
    if scheme[1] == "unix":
        return _unix(_login(login), hosts, path or "", options)
    if scheme[1] == "redis+sentinel":
        return _sentinel(_login(login), hosts, path or "", options)
    if scheme[1] == "redis+cluster":
        return _cluster(_login(login), hosts, path or "", options)
    db = _db([piece for piece in (path or "").split("/") if piece], options)
    tls = _tls(options) if scheme[1] == "rediss" else None
    return Address(hosts=(_one_host(hosts),), db=db, login=_login(login), tls=tls)


def _unix(login: Login, hosts: str, path: str, options: Mapping[str, str]) -> Address:
    if hosts or not path.strip("/"):
        raise WrongAddress("a Unix socket is written with three slashes: unix:///run/redis.sock")
    if "password" in options:
        login = Login(options.get("username"), options["password"])
    return Address(path=_decoded(path), db=_db([], options), login=login)


def _sentinel(login: Login, hosts: str, path: str, options: Mapping[str, str]) -> Address:
    master, *rest = [_decoded(piece) for piece in path.split("/") if piece] or [""]
    if not master or "," in master:
        text = "a sentinel address ends with the name of one master, and optionally a database"
        raise WrongAddress(f"{text}: redis+sentinel://host:26379,host:26379/mymaster/0")
    found = [_host(one, SENTINEL_PORT) for one in hosts.split(",")]
    tls = _tls(options)
    for_master = _flag(options, "tls", False)
    for_sentinels = _flag(options, "sentinel_tls", for_master)
    if not for_master and not for_sentinels and not set(options).isdisjoint(_TLS):
        raise WrongAddress(f"{', '.join(_TLS)} mean something with tls=1 or sentinel_tls=1 only")
    if "sentinel_username" in options and "sentinel_password" not in options:
        raise WrongAddress("sentinel_username needs sentinel_password as well")
    ours = Login(options.get("sentinel_username"), options.get("sentinel_password"))
    return Address(
        hosts=tuple(dict.fromkeys(found)),
        master=master,
        db=_db(rest, options),
        login=login,
        tls=tls if for_master else None,
        sentinel_login=ours,
        sentinel_tls=tls if for_sentinels else None,
    )


def _cluster(login: Login, hosts: str, path: str, options: Mapping[str, str]) -> Address:
    if path.strip("/"):
        raise WrongAddress("a cluster has one database, which has no number: write nothing behind the hosts")
    found = tuple(dict.fromkeys(_host(one, PORT) for one in hosts.split(",")))
    shards = _number(options, "shards", 1, MAX_SHARDS)
    slot = _number(options, "slot", 0, SLOTS - 1)
    over_tls = _flag(options, "tls", False)
    if not over_tls and not set(options).isdisjoint(_TLS):
        raise WrongAddress(f"{', '.join(_TLS)} mean something with tls=1 only")
    tls = _tls(options) if over_tls else None
    return Address(hosts=found, login=login, tls=tls, shards=SHARDS if shards is None else shards, slot=slot)


def _number(options: Mapping[str, str], name: str, least: int, most: int) -> int | None:
    value = options.get(name)
    if value is None:
        return None
    if not re.fullmatch(r"[0-9]{1,6}", value) or not least <= int(value) <= most:
        raise WrongAddress(f"the option {name} is a number from {least} to {most}")
    return int(value)


def _decoded(text: str) -> str:
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise WrongAddress("what is percent-encoded must be UTF-8") from None


def _login(text: str | None) -> Login:
    if text is None:
        return Login()
    username, colon, password = text.partition(":")
    if not colon:
        raise WrongAddress("there is a user name without a password: write :password@ or user:password@")
    return Login(_decoded(username) or None, _decoded(password)) if text != ":" else Login()


def _one_host(text: str) -> tuple[str, int]:
    if "," in text:
        raise WrongAddress("it names several hosts: shards are whole addresses, as redis://one:6379,redis://two:6379")
    return _host(text, PORT)


def _host(text: str, port: int) -> tuple[str, int]:
    """(host, port) of `host`, `host:port` or `[IPv6]:port`."""
    form = _HOST.fullmatch(text)
    if form is None:
        raise WrongAddress(f"write a host as name:{port}, an IPv6 address in brackets, as [::1]:{port}; {ENCODE}")
    literal, name, given = form.groups()
    if literal is not None:
        name = _ipv6(_decoded(literal))
    if not name:
        raise WrongAddress(f"the host is missing: write one, for example 127.0.0.1:{port}")
    if given is None:
        return _decoded(name), port
    if not re.fullmatch(r"[0-9]{1,5}", given) or not 0 < int(given) < 65536:
        raise WrongAddress(f"the port must be a number from 1 to 65535; {ENCODE}")
    return _decoded(name), int(given)


def _ipv6(text: str) -> str:
    try:
        return str(ipaddress.IPv6Address(text))
    except ValueError:
        raise WrongAddress(f"what is in brackets is not an IPv6 address; {ENCODE}") from None


def _db(path: list[str], options: Mapping[str, str]) -> int:
    given = [*path, *([options["db"]] if "db" in options else [])]
    if len(given) > 1:
        raise WrongAddress("the database is given more than once: write it once, after the last slash")
    if given and not re.fullmatch(r"[0-9]{1,6}", given[0]):
        raise WrongAddress(f"the database must be a number, as 0; {ENCODE}")
    return int(given[0]) if given else 0


def _options(scheme: str, query: str) -> dict[str, str]:
    known, found = OPTIONS[scheme], dict[str, str]()
    for part in query.split("&") if query else ():
        written, _, value = part.partition("=")
        name = _AS_REDIS_PY.get(written, written)
        if name not in known:
            raise WrongAddress(_unknown(scheme, name))
        if name in found:
            raise WrongAddress(f"the option {name} is given twice")
        found[name] = _decoded(value)
    return found


def _unknown(scheme: str, name: str) -> str:
    known = [one for one in OPTIONS[scheme] if one != "slot"]  # which only we write
    close = difflib.get_close_matches(name, known, n=1)
    meant = f" (did you mean {close[0]}?)" if close else ""
    text = f"there is an option that {scheme}:// does not have{meant}; it has {', '.join(known)}"
    return f"{text}; TLS is rediss://" if scheme == "redis" and name in _TLS else f"{text}; {ENCODE}"


def _flag(options: Mapping[str, str], name: str, default: bool) -> bool:
    value = options.get(name, "").lower()
    if name in options and value not in _TRUE | _FALSE:
        raise WrongAddress(f"the option {name} is 1 or 0")
    return value in _TRUE if name in options else default


def _tls(options: Mapping[str, str]) -> Tls:
    files = {name: options.get(name, "") for name in ("ca", "cert", "key")}
    for name, path in files.items():
        if name in options and not (os.path.isfile(path) and os.access(path, os.R_OK)):
            raise WrongAddress(f"the file of the option {name} is not there, or this user may not read it")
    if files["key"] and not files["cert"]:
        raise WrongAddress("the option key needs the option cert as well")
    tls = Tls(**files, check_hostname=_flag(options, "check_hostname", True), verify=_flag(options, "verify", True))
    try:
        tls.context()  # read here, where a fault can be named, and not at the first connection
    except OSError:
        what = "ca, cert and key" if files["cert"] else "ca"
        text = f"the files of {what} are not certificates or keys in PEM form, have a passphrase, or do not match"
        raise WrongAddress(text) from None
    return tls
