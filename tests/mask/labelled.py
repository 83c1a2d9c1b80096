"""Texts as agents' spans hold them, with sensitive values and look-alikes at known places, made from a seed.

Values are drawn from formats here, independently of the detector tables, so that a rule can't pass by knowing its own example.
"""

from __future__ import annotations

import base64
import json
import random
import string
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.mask.identities import IDENTITIES, luhn_digit

ALNUM = string.ascii_letters + string.digits
HEX = "0123456789abcdef"
URL = ALNUM + "_-"

NAMES = ["maria", "john.smith", "wei_chen", "p.dubois", "anna-lena", "o.nwosu", "kurt88", "s.patel+work", "jürgen"]
DOMAINS = ["example.com", "mail.example.org", "acme.co.uk", "uni-bonn.example", "firma.de", "corp.internal", "bücher.example", "startup.io"]

PREFIXED: dict[str, tuple[str, str, int]] = {
    "openai": ("sk-" + "proj-", URL, 120), "openai-old": ("sk" + "-", ALNUM, 48), "anthropic": ("sk-" + "ant-api03-", URL, 95), "github": ("gh" + "p_", ALNUM, 36), "github-fine": ("github_" + "pat_", ALNUM + "_", 82),
    "gitlab": ("gl" + "pat-", URL, 20), "slack": ("xo" + "xb-", string.digits + "-" + ALNUM, 50), "stripe": ("sk_" + "live_", ALNUM, 24), "google": ("AI" + "za", URL, 35), "hugging-face": ("h" + "f_", ALNUM, 34),
    "npm": ("np" + "m_", ALNUM, 36), "sendgrid": ("SG" + ".", ALNUM, 22), "digitalocean": ("dop_" + "v1_", HEX, 64), "groq": ("gs" + "k_", ALNUM, 52), "replicate": ("r8" + "_", ALNUM, 37), "xai": ("xa" + "i-", ALNUM, 80),
    "openrouter": ("sk-or-" + "v1-", HEX, 64), "langfuse": ("sk-" + "lf-", HEX + "-", 36), "langsmith": ("lsv2_" + "pt_", HEX, 32), "perplexity": ("pp" + "lx-", ALNUM, 48), "linear": ("lin_" + "api_", ALNUM, 40),
    "notion": ("nt" + "n_", ALNUM, 46), "shopify": ("shp" + "at_", HEX, 32), "grafana": ("gls" + "a_", ALNUM, 41), "newrelic": ("NR" + "AK-", string.ascii_uppercase + string.digits, 27), "dockerhub": ("dckr_" + "pat_", URL, 27),
    "vault": ("hv" + "s.", URL, 95), "databricks": ("da" + "pi", HEX, 32), "twilio": ("S" + "K", HEX, 32), "postman": ("PM" + "AK-", HEX, 24), "tailscale": ("tskey-" + "auth-", ALNUM, 40), "aws": ("AK" + "IA", string.ascii_uppercase + "234567", 16),
    "planetscale": ("pscale_" + "tkn_", URL, 43), "sentry": ("sntr" + "yu_", HEX, 64), "figma": ("fig" + "d_", URL, 40), "pinecone": ("pcs" + "k_", ALNUM, 70), "tavily": ("tv" + "ly-", ALNUM, 32), "resend": ("re" + "_", ALNUM, 33), "nvidia": ("nv" + "api-", URL, 64),
}  # fmt: skip

SECRET_PLACES = [
    "use {} for the call", "OPENAI_KEY={}", "Authorization: Bearer {}", '{{"api_key": "{}"}}', "client = Client('{}')", "my key is {}, keep it", "https://x.example/v1?key={}", "export TOKEN={}", "key: {}\nother: 1", "({})", "<token>{}</token>",
]  # fmt: skip
PASSWORD_PLACES = [
    "my password is {}", "DB_PASSWORD={}", 'password: "{}"', "passwort: {}", "the password for the vpn is {}", '{{"user": "bob", "password": "{}"}}', "postgres://svc:{}@db.internal:5432/app", "Server=db;User Id=sa;Password={};", "la contraseña es {}",
    "login bob, password {} please", "curl -u admin:{} https://x.example", "pwd = '{}'", "spring.datasource.password={}", "mot de passe : {}",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Labelled:
    text: str
    kind: str
    sensitive: tuple[str, ...] = ()
    """What must be gone; empty for a look-alike, which must stay as it is."""


def word(chance: random.Random, alphabet: str, length: int) -> str:
    return "".join(chance.choice(alphabet) for _ in range(length))


def card(chance: random.Random) -> str:
    head, length = chance.choice([("4", 16), ("51", 16), ("55", 16), ("2221", 16), ("37", 15), ("34", 15), ("6011", 16), ("3528", 16), ("36", 14)])
    body = head + word(chance, string.digits, length - len(head) - 1)
    number = body + luhn_digit(body)
    if length == 16 and chance.random() < 0.6:
        return chance.choice([" ", "-"]).join(number[i : i + 4] for i in range(0, 16, 4))
    return number


def iban(chance: random.Random) -> str:
    country, length = chance.choice([("DE", 18), ("FR", 23), ("ES", 20), ("NL", 0), ("GB", 0), ("AT", 16), ("CH", 17), ("BE", 12)])
    bban = {"NL": "ABNA" + word(chance, string.digits, 10), "GB": "WEST" + word(chance, string.digits, 14)}.get(country) or word(
        chance, string.digits, length
    )
    number = int("".join(str(int(c, 36)) for c in bban + country + "00"))
    text = f"{country}{98 - number % 97:02d}{bban}"
    return " ".join(text[i : i + 4] for i in range(0, len(text), 4)) if chance.random() < 0.5 else text


PHONES = [
    "+1 (NXX) NXX-XXXX",
    "+1NXXNXXXXXX",
    "+49 30 XXXXXX",
    "+44 20 7XXX XXXX",
    "+33 6 XX XX XX XX",
    "+91 9XXXX XXXXX",
    "+81-3-NXXX-XXXX",
    "+55 11 9XXXX-XXXX",
    "(NXX) NXX-XXXX",
    "NXX-NXX-XXXX",
    "01 XX XX XX XX",
    "020 7XXX XXXX",
]
PHONES_IN_CONTEXT = ["9XXXX XXXXX", "NXXNXXXXXX", "0151 XXXXXXXX", "030/XXXXXXX", "06-XXXXXXXX"]


def filled(chance: random.Random, form: str) -> str:
    """``X`` is any digit, ``N`` one from 2 to 9."""
    return "".join(chance.choice(string.digits) if c == "X" else chance.choice("23456789") if c == "N" else c for c in form)


def phone(chance: random.Random) -> tuple[str, str]:
    if chance.random() < 0.7:
        return filled(chance, chance.choice(PHONES)), chance.choice(
            ["call {} today", "reach me at {}", '"contact": "{}"', "Tel: {}", "{}\n", "phone number {}"]
        )
    return filled(chance, chance.choice(PHONES_IN_CONTEXT)), chance.choice(
        ["phone: {}", "my mobile is {}", "Telefon {}", "cell {} (evenings)", "WhatsApp: {}"]
    )


def password(chance: random.Random) -> str:
    style = chance.randrange(4)
    if style == 0:
        return word(chance, ALNUM, 12) + "7"
    if style == 1:
        return chance.choice(["Summer", "hunter", "Dragon", "Welcome", "Fussball"]) + str(chance.randrange(10, 9999)) + chance.choice(["!", "", "#"])
    if style == 2:
        return "-".join(chance.choice(["correct", "horse", "Battery", "staple", "lamp"]) for _ in range(3)) + str(chance.randrange(9))
    return word(chance, ALNUM + "!#%*+^~", 14) + "a1"


def jwt_part(value: dict[str, object]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def jwt(chance: random.Random) -> str:
    head = jwt_part({"alg": chance.choice(["HS256", "RS256", "ES256"]), "typ": "JWT"})
    return f"{head}.{jwt_part({'sub': word(chance, string.digits, 9), 'exp': 17})}.{word(chance, URL, 43)}"


def pem(chance: random.Random) -> str:
    kind = chance.choice(["RSA ", "EC ", "", "OPENSSH ", "ENCRYPTED "])
    body = "\n".join(word(chance, ALNUM + "+/", 64) for _ in range(chance.randrange(3, 14)))
    return f"-----BEGIN {kind}PRIVATE" + f" KEY-----\n{body}\n-----END {kind}PRIVATE" + " KEY-----"


Drawn = tuple[str, str, str]
"""(kind, value, place)."""


def prefixed(chance: random.Random) -> Drawn:
    provider = chance.choice(sorted(PREFIXED))
    prefix, alphabet, length = PREFIXED[provider]
    end = "" if provider == "aws" else chance.choice(HEX[1:10]) + "a"
    return f"token {provider}", prefix + word(chance, alphabet, length - len(end)) + end, chance.choice(SECRET_PLACES)


def identity(chance: random.Random) -> Drawn:
    country = chance.choice(sorted(IDENTITIES))
    make, places = IDENTITIES[country]
    return f"identity {country}", make(chance), chance.choice(places)


def birth(chance: random.Random) -> Drawn:
    year, month, day = chance.randrange(1940, 2005), chance.randrange(1, 10), chance.randrange(10, 28)
    value = chance.choice([f"{year}-0{month}-{day}", f"{day} March {year}", f"0{month}/{day}/{year}", f"{day}.0{month}.{year}"])
    return "dob", value, chance.choice(["DOB: {}", "date of birth {}", "born on {} in Oslo", '"birth_date": "{}"', "geboren am {}"])


def keyed(chance: random.Random) -> Drawn:
    provider = chance.choice(["DATADOG", "MISTRAL", "TWILIO_AUTH", "COHERE", "ALGOLIA", "ACME", "INTERNAL"])
    name = provider.lower()
    return (
        "keyed",
        word(chance, HEX, 30) + "a7",
        chance.choice([f"{provider}_API_KEY={{}}", f'"{name}_api_key": "{{}}"', f"{name} api key is {{}}", f"{name}_token: {{}}"]),
    )


def passport(chance: random.Random) -> Drawn:
    return (
        "passport",
        filled(chance, chance.choice(["CXXXXXXXX", "ABXXXXXXX", "XXXXXXXXX"])),
        chance.choice(["passport {}", "passport number: {}", "Reisepass Nr. {}"]),
    )


def network(chance: random.Random) -> Drawn:
    value, places = chance.choice(
        [
            (
                ".".join(str(chance.choice([*range(31, 127), *range(128, 223)])) for _ in range(4)),
                ["from {} port 22", "http://{}:8080/", "client={}", "{} - - [GET]"],
            ),
            ("2001:db8:" + ":".join(word(chance, HEX, 4) for _ in range(6)), ["from {} port 22", "[{}]:443"]),
            (chance.choice([":", "-"]).join(word(chance, HEX, 2) for _ in range(6)), ["device {} joined"]),
        ]
    )
    return "network", value, chance.choice(places)


POSITIVES: list[Callable[[random.Random], Drawn]] = [
    *[prefixed] * 3,
    *[identity] * 2,
    *[network] * 2,
    birth,
    keyed,
    passport,
    lambda c: ("password", password(c), c.choice(PASSWORD_PLACES)),
    lambda c: ("password", password(c), c.choice(PASSWORD_PLACES)),
    lambda c: (
        "email",
        f"{c.choice(NAMES)}{c.randrange(99)}@{c.choice(DOMAINS)}",
        c.choice(["write to {} please", "<{}>", "user={}", "mailto:{}", "{}, bob", "Kontakt:{}"]),
    ),
    lambda c: ("phone", *phone(c)),
    lambda c: ("card", card(c), c.choice(["card {} exp 09/27", "charge {}", "Karte: {}", "pan={}", "{}"])),
    lambda c: ("iban", iban(c), c.choice(["IBAN {}", "transfer to {} today", "account={}", "{}"])),
    lambda c: ("jwt", jwt(c), c.choice(["Bearer {}", "token={}", "{}", "cookie: session={}; a=b"])),
    lambda c: ("pem", pem(c), c.choice(["key:\n{}\nend", "{}"])),
    lambda c: ("basic", base64.b64encode(f"admin:{word(c, ALNUM, 10)}".encode()).decode(), "Authorization: Basic {}"),
    lambda c: ("ethereum", "0x" + word(c, HEX, 40), c.choice(["send to {}", "wallet={}"])),
]


LOOK_ALIKES: dict[str, Callable[[random.Random], str]] = {
    "uuid": lambda c: f"request {uuid.UUID(int=c.getrandbits(128))} done",
    "git sha": lambda c: f"commit {word(c, HEX, 40)} fixed it",
    "hash": lambda c: f"sha256:{word(c, HEX, 64)}",
    "md5": lambda c: f'etag "{word(c, HEX, 32)}"',
    "timestamp": lambda c: f"at {c.randrange(1700000000, 1799999999)} and 2026-0{c.randrange(1, 9)}-1{c.randrange(9)}T10:0{c.randrange(9)}:33.123456Z",
    "nanos": lambda c: f'"start_time_unix_nano": "{c.randrange(17, 18)}{word(c, string.digits, 17)}"',
    "version": lambda c: f"chrome/{c.randrange(90, 140)}.0.{c.randrange(9999)}.{c.randrange(250)} python {c.randrange(4)}.{c.randrange(20)}.{c.randrange(20)}.{c.randrange(9)}",
    "order": lambda c: f"order number {c.randrange(10**6, 10**8)} and ORD-{c.randrange(10**5, 10**7)}-A",
    "isbn": lambda c: f"ISBN 978-3-16-{c.randrange(100000, 999999)}-{c.randrange(9)}",
    "float": lambda c: f"score={c.random()} loss {c.random() * 1e-5}",
    "embedding": lambda c: str([c.uniform(-1, 1) for _ in range(8)]),
    "base64": lambda c: "data:image/png;base64," + base64.b64encode(c.randbytes(300)).decode(),
    "trace": lambda c: f"trace_id={word(c, HEX, 32)} span_id={word(c, HEX, 16)}",
    "tool call": lambda c: f'{{"id": "call_{word(c, ALNUM, 24)}", "type": "function"}}',
    "message id": lambda c: f"msg_{word(c, ALNUM, 24)} run_{word(c, HEX, 24)} chatcmpl-{word(c, ALNUM, 29)} toolu_{word(c, ALNUM, 24)} resp_{word(c, HEX, 48)} thread_{word(c, ALNUM, 24)}",
    "price": lambda c: f"it costs ${c.randrange(999999) / 100} or {c.randrange(9999)},{c.randrange(10, 99)} EUR, {c.randrange(10**6, 10**9):,} units",
    "tokens": lambda c: f'{{"prompt_tokens": {c.randrange(9999)}, "total_tokens": {c.randrange(99999)}, "max_tokens": 4096, "token_count": {c.randrange(999)}}}',
    "coordinates": lambda c: f"lat {c.uniform(-90, 90):.6f}, lon {c.uniform(-180, 180):.7f}",
    "colour": lambda c: f"color: #{word(c, HEX, 6)}; border: 1px solid #{word(c, HEX, 3)}",
    "package": lambda c: f"npm i @scope/pkg-{word(c, 'abc', 4)}@{c.randrange(20)}.{c.randrange(20)}.{c.randrange(20)} requests=={c.randrange(3)}.{c.randrange(40)}.{c.randrange(9)}",
    "placeholder": lambda c: c.choice(["api_key=<your-api-key>", "password: ${DB_PASSWORD}", "OPENAI_API_KEY=os.environ['KEY']", "token=get_token()", "password: ***", 'secret = config["secret"]', "password=None", "Bearer {token}", "api_key: str | None = None", "sk-xxxxxxxxxxxxxxxxxxxx"]),
    "talk of secrets": lambda c: c.choice(["the password is required", "secret santa is on Friday", "Your token has expired.", "reset your password: click here", "we store a hash of each password", "password manager", "the secret to good bread is time", "Password must be at least 8 characters", "token limit reached", "bearer authentication failed", "public key cryptography", "the cookie jar"]),
    "signature": lambda c: c.choice(["def login(user: str, password: str) -> Token:", "class Auth(token: string, secret: SecretStr)", "password = Field(..., min_length=8)", "const { password } = req.body", "if (!token) return null", "self.password = password", "key: lambda x: x[1]"]),
    "mac-like": lambda c: f"took 00:{c.randrange(10, 59)}:{c.randrange(10, 59)} ratio 16:9",
    "code path": lambda c: f"std::vector<int> a; crate::mod{c.randrange(9)}::fn_{word(c, 'abc', 3)}; File \"/app/x.py\", line {c.randrange(999)}",
    "phone-like": lambda c: f"part no {c.randrange(1000, 9999)}-{c.randrange(100, 999)}-{c.randrange(10, 99)}, {c.randrange(10, 99)} of {c.randrange(1000, 9999)}, rows {c.randrange(10**4, 10**6)}",
    "loopback": lambda c: f"listening on 127.0.0.1:{c.randrange(1000, 9999)} and [::1]:{c.randrange(1000, 9999)} 0.0.0.0",
    "decorator": lambda c: f"@app.get('/x{c.randrange(99)}')\nasync def f(): ...  # see @alice on GitHub",
    "public key": lambda c: f"pk-lf-{uuid.UUID(int=c.getrandbits(128))}",
    "model": lambda c: f"gpt-4o-2024-0{c.randrange(1, 9)}-13 claude-sonnet-4-5-2025{c.randrange(1000, 1231)} us.anthropic.claude-3-5-haiku-20241022-v1:0",
}  # fmt: skip

FILLER = [
    "The agent looked at the order and decided to refund it.", "Let me check the inventory for you.", "Ich habe den Bericht gelesen.", "def handler(event):\n    return event['body']", "料理の予約を確認しました。", "SELECT id, name FROM users WHERE active;",
    "INFO 2026-11-21 10:00:01 worker: step 3 of 7", 'Traceback (most recent call last):\n  File "main.py", line 12, in run', "résumé déjà vu 🙂", "- first\n- second\n- third",
]  # fmt: skip


def _forms(chance: random.Random, text: str) -> str:
    before, after = chance.choice(FILLER), chance.choice(FILLER)
    match chance.randrange(8):
        case 0:
            return text
        case 1:
            return f"{before} {text} {after}"
        case 2:
            return f"{before}\n{text}\n{after}\n"
        case 3:
            return f'Traceback (most recent call last):\n  File "app.py", line 3, in f\nValueError: bad input: {text}\n'
        case 4:
            return f"2026-11-21 10:00:01,123 INFO [worker-3] {text} status=200"
        case 5:
            return f"# {before}\nx = 1\n\t{text}\ny = 2"
        case 6:
            return f"🙂 {before} » {text} « ñ"
        case _:
            return f"{before} ({text})"


def labelled(seed: int, count: int = 1200) -> Iterator[Labelled]:
    """``count`` texts, half of them look-alikes. Texts are decoded ones: JSON around them is the matter of the JSON tests."""
    chance = random.Random(seed)
    for number in range(count):
        if number % 2:
            name = chance.choice(sorted(LOOK_ALIKES))
            yield Labelled(_forms(chance, LOOK_ALIKES[name](chance)), name)
        else:
            kind, value, place = chance.choice(POSITIVES)(chance)
            yield Labelled(_forms(chance, place.format(value)), kind, (value,))


def in_json(chance: random.Random, text: str, depth: int) -> str:
    """The text as the content of a message, and that as an argument of a tool call, ``depth`` times."""
    for _ in range(depth):
        text = json.dumps({"role": chance.choice(["user", "tool"]), "content": text}, ensure_ascii=chance.random() < 0.5)
    return text
