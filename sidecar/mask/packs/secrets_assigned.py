"""`key = value` in every notation: JSON, YAML, XML, tables, environment, code, SQL and prose in several languages. A table."""

from __future__ import annotations

from sidecar.mask.assigned import bare_password, key_value, line_password, phrase_password, quoted_password, random_value, told_password
from sidecar.mask.detector import WORD, Detector
from sidecar.mask.packs.formats import ALL, HEX, any_of, made, plain

_LOGIN_NAME = any_of(
    "passw(?:or)?[dt]|passphrase|passcode|_pass|-pass|pwd|kennwort|contrase(?:ñ|n)a|mot[ _-]?de[ _-]?passe|senha|wachtwoord|l(?:ö|o)senord|has(?:ł|l)o"
    "|wlan-?schl(?:ü|ue)ssel|wi-?fi[ _-]?(?:key|code)|adgangskode|salasana|jelsz(?:ó|o)|heslo|parola|пароль|Пароль|密码|密碼|パスワード|비밀번호"
)
_KEY_OWNERS = "api app access secret private encryption encrypt signing auth account master license subscription shared session storage service client webhook function admin deploy ssh hmac aes"
_KEY_NAME = any_of(
    "|".join(["secret", *(f"{owner}[_ -]?key" for owner in _KEY_OWNERS.split())])
    + "|api-?schl(?:ü|ue)ssel|cl(?:é|e)[_ ]api|clave[_ ]api|chave[_ ]api|chiave[_ ]api|token(?: (?:de|d.|di) ?acc[a-zè]{2,4})?|jeton(?: d.acc(?:è|e)s)?|jwt|credentials?|passkey|authkey|otp|密钥|秘钥|令牌|トークン|ключ"
)
_KEY_END = (
    "(?:secret|(?:api|app|ess|ret|ate|ion|ypt|ing|uth|unt|ter|nse|red|age|ice|ent|ook|min|loy|ssh|mac|aes)[_ -]?key|schl(?:ü|ue)ssel|cl(?:é|e)[_ ]api|clave[_ ]api|chave[_ ]api|chiave[_ ]api"
    "|token(?: (?:de|d.|di) ?acc[a-zè]{2,4})?|jeton(?: d.acc(?:è|e)s)?|jwt|credentials?|passkey|authkey|otp|密钥|秘钥|令牌|トークン|ключ)"
)
_REST = "(?:[_-][a-z0-9]{1,12}|[0-9]{1,2}){0,2}"
_KEY_REST = "(?:[_-](?:[aefghijkmnoqsvwxyz0-9][a-z0-9]{0,11}|(?:base|client|cloud|default|dev|live|local|primary|private|prod|read|root|runner|team|test)[a-z]{0,8}|uk|us)|[0-9]{1,2}){0,2}"
"""The same after a key's name, without what is counted, priced and described: `token_usage`, `token_count`, `token_limit`, `token_price`, `token_type`."""
_CLOSE = "(?:\\\\{0,3}[\"'`*]{1,3}[\\])]?|[\\])])?"
_OPERATOR = "(?:(?:是|为|為|は)?(?::?={1,2}>?|:|\N{FULLWIDTH COLON}|=>|\\|)|是|为|為|は)"
_PAIRED = "\\\\{0,3}[\"'`],(?: |$)"
"""Between the members of a pair: `("password", "...")`."""
_VALUE = "(?:\\\\{0,3}[\"'][ \\t]{0,2},?[ \\t\\r\\n]{1,24}|[\\r\\n]{1,2}[ \\t]{1,24})\\\\{0,3}[\"']?value\\\\{0,3}[\"']?[ \\t]{0,3}[:=][ \\t]{0,3}|[ \\t]-value[ \\t]"
"""Between name and value where both are named: `"name": "API_KEY", "value": "..."`, in XML attributes and in YAML as well."""
_ASSIGN = "(?:" + _CLOSE + "[ \\t]{0,8}" + _OPERATOR + "[ \\t]{0,8}[*]{0,3}[ \\t]?|" + _VALUE + "|" + _PAIRED + "[ \\t]{0,8})"
_KEY_SET = (
    _KEY_END
    + _KEY_REST
    + "(?:"
    + _CLOSE
    + "[ \\t]{0,8}(?:[:=|]|\N{FULLWIDTH COLON}|是|为|為|は)|"
    + _PAIRED
    + "|"
    + _VALUE
    + "|[ \\t]{1,2}\\\\{0,3}[\"'`\\xc2\\xe2\\xe3])"
)
"""The trigger of an assignment to a key: an operator or a quote follows the name."""
_VERB = "(?:[ \\t]{1,3}|'|\N{RIGHT SINGLE QUOTATION MARK})(?:s|is|was|lautet|ist|es|est|är|jest|to|é|è|equals|=|:)[ \\t:]"
_ASIDE = "[ \\t]\\([^()\\r\\n]{1,30}\\)"
_FOR = "[ \\t](?:for|to|of|on|in|at|für|de|para|pour|del|is|was)[ \\t]"
_KEY_TOLD = _KEY_END + "(?:" + _VERB + "|" + _ASIDE + _VERB + "|" + _FOR + "[^:=\\r\\n\"'.]|[ \\t]{1,2}[\"'`]?[0-9a-z_./+=~-]{8})"
"""The trigger of a key in prose: a verb, an aside, a preposition or a long word follows."""
_IS = "(?:" + _FOR + "[^:=\\r\\n\"'.]{1,40})?(?:" + _ASIDE + ")?" + _VERB + "[ \\t:]{0,2}(?:now |set to |still |changed to )?"
_TYPED = "(?:[ \\t]{0,2}:[ \\t]{0,2}[A-Za-z&\\[\\] |.]{1,30}=[ \\t]{0,2})"
_QUOTED = "(?:\\\\{0,3}(?:[\"'`]|“|\N{LEFT SINGLE QUOTATION MARK}|«|「))([^\"'`\\\\\\r\\n\\xe2]{3,256})"
_BARE = "([^\\s\"'`<>\\\\,;{}()\\[\\]&|]{4,256})"
_REACH = 380

_MIXED = "hunter2-" + "Correct-Horse"
_RANDOM = made(ALL, 32, 5)
_CALL = frozenset(b"([")


def _short(value: bytes) -> bool:
    """`pw` and `pass` mean other things as well: what follows is no number."""
    return told_password(value) and not value.translate(None, b".,;:!?)%/+-").isdigit()


_QUOTED_TAIL = _REST + "(?:(?:" + _ASSIGN + "|" + _TYPED + ")[a-z]{0,2}|" + _IS + "|[ \\t]{1,2})" + _QUOTED
_BARE_TAIL = _REST + "=" + _BARE
_TOLD_TAIL = _REST + "(?:" + _ASSIGN + "|" + _IS + "|[ \\t]{1,2})" + _BARE
_LINE_TAIL = _REST + _CLOSE + "[ \\t]{0,4}[:=][ \\t]{1,4}([A-Za-z]{5,40})[ \\t]{0,4}(?:[\\r\\n]|$)"
_PHRASE_TAIL = _REST + _CLOSE + "[ \\t]{0,4}[:=][ \\t]{1,4}([a-z]{3,12}(?: [a-z]{3,12}){2,6})[ \\t]{0,4}(?:[\\r\\n]|$)"
_ELEMENT_TAIL = _REST + ">[ \\t\\r\\n]{0,8}([^<>\\s][^<>\\r\\n]{2,120})</"
"""What follows a password's name, by detector: they share the trigger, and this is asked first."""

DETECTORS: tuple[Detector, ...] = (
    plain(
        "password-quoted",
        _LOGIN_NAME + _QUOTED_TAIL,
        _LOGIN_NAME,
        _REACH,
        (f'"password": "{_MIXED}"', f"db_password = '{_MIXED}'", f'password: str = "{_MIXED}"', f"('password', '{_MIXED}')"),
        ('"password": "string"', '"password": "${DB}"', 'password="Enter your password"', "password: '***'"),
        1,
        validate=quoted_password,
        ignore_case=True,
        tail=_QUOTED_TAIL,
        before=32,
        label="PASSWORD",
    ),
    plain(
        "password-bare",
        _LOGIN_NAME + _BARE_TAIL,
        _LOGIN_NAME,
        _REACH,
        (f"DB_PASSWORD={_MIXED}", "Server=x;Password=" + "Swordfish;Database=y", "?password=" + "tr0ub4dor&x=1"),
        ("password=password", "password=os.environ['X']", "password=None", "password=get_password()"),
        1,
        validate=bare_password,
        ignore_case=True,
        not_after=_CALL,
        tail=_BARE_TAIL,
        before=32,
        label="PASSWORD",
    ),
    plain(
        "password-told",
        _LOGIN_NAME + _TOLD_TAIL,
        _LOGIN_NAME,
        _REACH,
        (f"my password is {_MIXED}", "Passwort: " + "Sommer2024!", "la contraseña es " + "Gato_99", "the password for the vpn is " + "x9-Lq2!"),
        ("password: required", "the password is wrong", "password: str", "passwords must have 8 characters"),
        1,
        validate=told_password,
        ignore_case=True,
        not_after=_CALL,
        tail=_TOLD_TAIL,
        before=32,
        label="PASSWORD",
    ),
    plain(
        "password-line",
        _LOGIN_NAME + _LINE_TAIL,
        _LOGIN_NAME,
        _REACH,
        ("password: swordfish\nhost: x", "Password: correcthorse"),
        ("password: string\n", "Password: required", "password: swordfish is old"),
        1,
        validate=line_password,
        ignore_case=True,
        tail=_LINE_TAIL,
        before=32,
        label="PASSWORD",
    ),
    plain(
        "secret-quoted",
        _KEY_NAME + _KEY_REST + "(?:(?:" + _ASSIGN + "|" + _TYPED + ")[a-z]{0,2}|[ \\t]{1,2})" + _QUOTED,
        _KEY_SET,
        _REACH,
        (f'"api_key": "{_RANDOM}"', f"client_secret = '{_RANDOM}'", f'"token": "{made(HEX, 40)}"'),
        ('"token_count": "12"', '"token": "string"', 'secret="${SECRET}"', 'token = "<your token>"'),
        1,
        validate=key_value,
        ignore_case=True,
        before=120,
        label="SECRET",
    ),
    plain(
        "secret-bare",
        _KEY_NAME + _KEY_REST + _ASSIGN + _BARE,
        _KEY_SET,
        _REACH,
        (f"API_KEY={_RANDOM}", f"secret: {_RANDOM}", f"export MY_TOKEN={made(HEX, 32)}"),
        ("max_tokens=4096", "token: str", "secret santa", "api_key=os.environ['K']", "token=make_token(1)"),
        1,
        validate=key_value,
        ignore_case=True,
        not_after=_CALL,
        before=120,
        label="SECRET",
    ),
    plain(
        "secret-told",
        _KEY_NAME + "(?:" + _IS + "|[ \\t]{1,2})[\"'`]?([0-9a-z_./+=~-]{8,256})",
        _KEY_TOLD,
        _REACH,
        (f"the api key is {_RANDOM}", f"use token {_RANDOM} to log in", f"client_key (of the customer in Berlin) is: {_RANDOM}"),
        ("the token is expired", "token limit 128000", "secret ingredient"),
        1,
        validate=random_value,
        ignore_case=True,
        not_after=WORD,
        before=72,
        label="SECRET",
    ),
    plain(
        "password-element",
        "<[a-z:_.-]{0,24}" + _LOGIN_NAME + _ELEMENT_TAIL,
        _LOGIN_NAME,
        _REACH,
        ("<password>" + "Swordfish7</password>", "<db:adminPassword>" + "hunter2</db:adminPassword>"),
        ("<password></password>", "<password>${db.password}</password>", "<password>required</password>"),
        1,
        validate=quoted_password,
        ignore_case=True,
        tail=_ELEMENT_TAIL,
        before=64,
        label="PASSWORD",
    ),
    plain(
        "password-phrase",
        _LOGIN_NAME + _PHRASE_TAIL,
        _LOGIN_NAME,
        _REACH,
        ("password: correct " + "horse battery staple", "Passphrase: purple " + "monkey dishwasher\n"),
        ("password: ask your manager", "password: must have digits", "password: click the link below"),
        1,
        validate=phrase_password,
        ignore_case=True,
        tail=_PHRASE_TAIL,
        before=32,
        label="PASSWORD",
    ),
    plain(
        "password-as",
        "(?:use|using|with|set|enter|try|type|entered)[ \\t][\"'`]?([^\\s\"'`<>]{5,64})[\"'`]?[ \\t](?:as|for)[ \\t](?:the |your |my |our |its |a |an )?(?:[a-z]{2,12} )?(?:password|passphrase|passcode)",
        "[ \\t](?:as|for)[ \\t][a-z ]{0,18}pass(?:word|phrase|code)",
        40,
        ("use " + "tr0ub4dor&3 as the password", "try `" + "Winter2024!` for the wifi password"),
        ("use it as a password", "use {value} as the password", "with care for the password"),
        1,
        validate=told_password,
        ignore_case=True,
        not_before=WORD,
        before=130,
        label="PASSWORD",
    ),
    plain(
        "password-short",
        "(?:^|[^0-9A-Za-z_.-])(?:[Pp][Ww]|psw|mdp|MDP|pass|[Cc]lave)(?:[ \\t]{0,3}[:=][ \\t]{0,3}|[ \\t](?:is|ist|est)[ \\t])[\"'`]?([^\\s\"'`<>,;{}()\\[\\]&|]{5,64})",
        "(?:^|[^0-9A-Za-z_.-])(?:[Pp][Ww]|psw|mdp|MDP|pass|[Cc]lave)(?:[ \\t]{0,3}[:=]|[ \\t]i?e?st?[ \\t])",
        110,
        ("login bob, pw: " + "hunter2-x", "PW=" + "Sommer2024!"),
        ("pw: required", "the pw is wrong", "pw = 1024", "pass: 95.5%", "PASS: TestLogin2"),
        1,
        validate=_short,
        not_after=_CALL,
        label="PASSWORD",
    ),
    plain(
        "password-default",
        _LOGIN_NAME + _REST + '"[ \\t]{0,2}\\{[^{}]{0,160}default[ \\t]{0,12}=[ \\t]{0,2}"([^"\\r\\n]{3,128})"',
        'default[ \\t]{0,12}=[ \\t]{0,2}"',
        300,
        ('variable "db_password" {\n  default = "' + 'Swordfish7"\n}', 'variable "admin_pwd" { type = string\n default     = "' + 'hunter2"'),
        ('variable "db_password" {\n  default = ""\n}', 'variable "region" {\n default = "eu-west-1"'),
        1,
        validate=quoted_password,
        ignore_case=True,
        label="PASSWORD",
    ),
    plain(
        "password-identified",
        "(?:identified[ \\t]{1,3}by[ \\t]{1,3}(?:password[ \\t]{1,3})?|convertto-securestring[ \\t](?:-string[ \\t])?)[\"']([^\"'\\r\\n]{3,128})[\"']",
        "(?:identified[ \\t]{1,3}by|convertto-securestring)[ \\t]",
        170,
        ("CREATE USER x IDENTIFIED BY '" + "Swordfish7'", 'identified by password "' + 'hunter2"'),
        ("identified by 'password'", "it was identified by its name"),
        1,
        validate=quoted_password,
        ignore_case=True,
        label="PASSWORD",
        before=24,
    ),
    plain(
        "secret-element",
        "<[a-z:_.-]{0,24}" + _KEY_NAME + _KEY_REST + ">[ \\t\\r\\n]{0,8}([0-9a-z_./+=:~-]{8,512})",
        _KEY_END + _KEY_REST + ">",
        620,
        (f"<apiKey>{_RANDOM}</apiKey>", f"<access_token>{made(HEX, 40)}</access_token>"),
        ("<token>string</token>", "<secret>${secret}</secret>", "List<Token> x"),
        1,
        validate=key_value,
        ignore_case=True,
        before=64,
        label="SECRET",
    ),
)
