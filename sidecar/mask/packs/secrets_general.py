"""Secrets without a provider: private keys, JWTs, headers, cookies, credentials in URLs, files and commands. A table."""

from __future__ import annotations

from sidecar.mask.assigned import quoted_password, told_password
from sidecar.mask.detector import ALNUM, Detector
from sidecar.mask.packs.formats import ALL, BASE64, HEX, made, plain
from sidecar.mask.validators import basic_credentials, jwt, varied

_RANDOM = made(ALL, 32, 5)
_PEM_HEAD, _PEM_TAIL = "-----BEGIN RSA PRIVATE" + " KEY-----", "-----END RSA PRIVATE" + " KEY-----"
_JWT = "ey" + "JhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9." + "eyJzdWIiOiIxMjM0NTY3ODkwIn0." + made(ALL, 43)


def _cookie(value: bytes) -> bool:
    name, equals, _ = value.lstrip().partition(b"=")
    return bool(equals) and not name.startswith((b"{", b"[")) and name.lower() not in {b"", *_COOKIE_DETAILS}


def _user_password(value: bytes) -> bool:
    user, _, password = value.partition(b":")
    return not password.isdigit() and quoted_password(password) and not password.startswith(b"//") and b"{" not in user


_COOKIE_DETAILS = (b"samesite", b"path", b"httponly", b"max-age", b"domain", b"expires", b"secure")


def _argument(value: bytes) -> bool:
    """What follows `-p` or `-a`: a password, no port mapping and no number."""
    return told_password(value) and not value.replace(b":", b"").isdigit() and not value.startswith((b"/", b"."))


DETECTORS: tuple[Detector, ...] = (
    plain(
        "private-key",
        "-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----(?:[0-9A-Za-z+/=\\s\\\\:,.()]|-[0-9A-Za-z]){0,8000}(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----)?",
        "PRIVATE KEY(?: BLOCK)?-----",
        16200,
        (
            f"{_PEM_HEAD}\n{made(BASE64[:9], 64)}\n{made(ALL, 64)}\n{_PEM_TAIL}",
            f"{_PEM_HEAD}\\nMIIE{made(ALL, 600)}",
            "-----BEGIN PGP PRIVATE" + f" KEY BLOCK-----\nVersion: X\n\n{made(ALL, 60)}",
        ),
        ("-----BEGIN PUBLIC KEY-----", "-----BEGIN CERTIFICATE-----", "a PRIVATE KEY is needed"),
        before=110,
    ),
    plain(
        "putty-private-key",
        'PuTTY-User-Key-File-[23]:[^\\x00"]{10,8000}Private-(?:MAC|Hash): ?[0-9a-f]{40,64}',
        "Private-(?:MAC|Hash):",
        8100,
        (
            f"PuTTY-User-Key-File-3: ssh-ed25519\r\nPrivate-Lines: 1\r\n{made(ALL, 48)}\r\nPrivate-MAC: {made(HEX, 64)}",
            f"PuTTY-User-Key-File-2: ssh-rsa\n{made(ALL, 90)}\nPrivate-MAC: {made(HEX, 40)}",
        ),
        ("PuTTY-User-Key-File-3: is a header",),
        label="PRIVATE_KEY",
    ),
    plain(
        "jwt",
        "eyJ[0-9A-Za-z_-]{8,1000}(?:\\.[0-9A-Za-z_-]{0,4000}){0,4}",
        "eyJ[0-9A-Za-z_-]{8}",
        17050,
        (_JWT, f"token={_JWT[:60]}", _JWT[:26]),
        ("eyJ9", "eyJwYWdlIjoxMiwiYWZ0ZXIiOjQ1Nn0"),
        validate=jwt,
        before=12,
    ),
    plain(
        "bearer-token",
        "bearer[ \\t+]{1,3}([0-9a-z._~+/=-]{8,4000})",
        "bearer[ \\t+]",
        4010,
        (f"Authorization: Bearer {_RANDOM}", f"'bearer {_RANDOM}'"),
        ("Bearer authentication", "the bearer of this letter", "Bearer {token}"),
        1,
        validate=varied,
        ignore_case=True,
        before=12,
        label="TOKEN",
    ),
    plain(
        "basic-credentials",
        "basic[ \\t]{1,3}([0-9a-z+/_-]{6,600}={0,2})",
        "basic[ \\t]{1,3}[0-9a-z+/_-]{6}",
        620,
        ("Authorization: Basic dXNlcjpwYXNzd29yZDE=", "'basic YWRtaW46aHVudGVyMg=='"),
        ("basic training", "Basic functionality"),
        1,
        validate=basic_credentials,
        ignore_case=True,
        not_before=ALNUM,
        before=20,
        label="CREDENTIALS",
    ),
    plain(
        "digest-credentials",
        "digest[ \\t]{1,3}(username=[^\\r\\n]{8,800})",
        "digest[ \\t]{1,3}username=",
        820,
        ('Authorization: Digest username="bob", realm="r", response="' + made(HEX, 32) + '"', "Digest username=bob, response=x1234"),
        ("digest of the day", "Digest username"),
        1,
        ignore_case=True,
        before=24,
        label="CREDENTIALS",
    ),
    plain(
        "authorization-header",
        "(?:authorization|x-api-key|api-key|x-auth-token|x-access-token|x-goog-api-key|ocp-apim-subscription-key|x-amz-security-token|private-token|x-vault-token|x-csrf-token|x-xsrf-token)"
        "\\\\{0,3}[\"']?[ \\t]{0,3}[:=,][ \\t]{0,3}\\\\{0,3}[\"']?(?:[a-z0-9-]{2,20}[ \\t]{1,2})?([0-9a-z._~+/=:!@#%-]{8,4000})",
        "(?:authorization|-key|-token)\\\\{0,3}[\"']?[ \\t]{0,3}[:=,]",
        4080,
        (f"x-api-key: {_RANDOM}", f'"Authorization": "Token {_RANDOM}"', f"PRIVATE-TOKEN: {_RANDOM}"),
        ("Authorization: required", "x-api-key: <key>", "authorization=disabled"),
        1,
        validate=varied,
        ignore_case=True,
        before=60,
        label="TOKEN",
    ),
    plain(
        "cookie",
        "cookie\\\\{0,3}[\"']{0,2}[ \\t]{0,3}[:=,][ \\t]{0,3}\\\\{0,3}[\"']?([^\\r\\n\"'\\\\]{6,4096})",
        "cookie\\\\{0,3}[\"']{0,2}[ \\t]{0,3}[:=,]",
        4120,
        (f"Set-Cookie: sid={_RANDOM}; Path=/; HttpOnly", f'"cookie": "a=1; session={_RANDOM}"'),
        ("cookie: chocolate chip", "cookies = 12"),
        1,
        validate=_cookie,
        ignore_case=True,
        before=24,
    ),
    plain(
        "session-cookie",
        "(?:sessionid|phpsessid|jsessionid|connect\\.sid|asp\\.net_sessionid|csrftoken|xsrf-token|__session|auth_session|laravel_session|_session_id|authtoken)=([0-9a-z._%:+/-]{12,2000})",
        "(?:sess|sid|token)[a-z_]{0,8}=",
        2040,
        (f"sessionid={_RANDOM}", f"JSESSIONID={made(HEX, 32)}"),
        ("sessionid=none", "csrftoken=None"),
        1,
        validate=varied,
        ignore_case=True,
        before=60,
        label="COOKIE",
    ),
    plain(
        "url-credentials",
        "[a-z0-9+.]{2,20}:\\\\?/\\\\?/([^\\s/\"'<>@\\\\]{0,100}:[^\\s/\"'<>\\\\]{1,200})@",
        ":\\\\?/\\\\?/[^\\s/\"'<>@:\\\\]{0,100}:[^\\s/\"'<>]",
        320,
        ("postgres://svc:" + "S3cr3t!pass@db:5432/x", "mongodb+srv://u:" + "p4ss@cluster.example.net", "redis://:" + "hunter22@cache:6379/0"),
        ("http://localhost:8080/a", "https://user:${PASS}@host", "http://a.example:80/x@y"),
        1,
        validate=_user_password,
        ignore_case=True,
        before=150,
        label="CREDENTIALS",
    ),
    plain(
        "url-token",
        "://([0-9A-Za-z_-]{20,255})(?::x-oauth-basic)?@",
        "://[0-9A-Za-z_-]{20}",
        280,
        (f"https://{_RANDOM}@github.com/o/r.git", f"https://{made(HEX, 32)}@o1.ingest.example.io/2"),
        ("https://a-very-long-host-name-here/x", f"https://{_RANDOM}.example.com"),
        1,
        validate=varied,
        before=26,
        label="TOKEN",
    ),
    plain(
        "command-credentials",
        "(?:curl|http|wget)[ \\t][^\\r\\n]{0,200}(?:-u|--user|--proxy-user)[ =]{1,2}[\"']?([^\\s:\"']{1,64}:[^\\s\"']{3,128})",
        "(?:-u|--user|--proxy-user)[ =]{1,2}[\"']?[^\\s:\"']",
        420,
        ("curl -s -u admin:" + "Sup3rPass https://x", "curl --user 'bob:" + "hunter22' https://x"),
        ("curl -u $USER:$PASS x", "sort -u file:name"),
        1,
        validate=_user_password,
        label="CREDENTIALS",
    ),
    plain(
        "command-password",
        "(?:mysql|mariadb|sshpass|mongo|docker|podman|skopeo|crane|oc[ ]|az[ ]|cf[ ]|registry|ldap|influx|clickhouse|7z|unzip|zip[ ]|redis-cli|mosquitto)[^\\r\\n]{0,160}[ \\t]-[pawP][ \\t]?[\"']?([^\\s\"'-][^\\s\"']{3,128})",
        "[ \\t]-[pawP][ \\t]?[\"']?[^\\s\"'-]",
        320,
        (
            "mysql -u root -p" + "S3cretPw db",
            "sshpass -p " + "hunter22 ssh a",
            "docker login -u ann -p " + "Sw0rdfish x.io",
            "redis-cli -a " + "hunter22 ping",
        ),
        ("mkdir -p /var/x", "mysql -u root -p$PASS", "docker run -p 8080:80 x", "docker ps -a"),
        1,
        validate=_argument,
        label="PASSWORD",
    ),
    plain(
        "piped-password",
        "echo[ \\t](?:-n[ \\t])?[\"']?([^\\s\"'|]{4,128})[\"']?[ \\t]?\\|[ \\t]?(?:sudo[ \\t]-S|[^\\r\\n|]{0,80}--password-stdin)",
        "\\|[ \\t]?(?:sudo[ \\t]-S|[^\\r\\n|]{0,80}--password-stdin)",
        250,
        ("echo '" + "Sw0rdfish' | sudo -S ls", "echo " + "hunter22 | docker login -u ann --password-stdin"),
        ("echo $PASS | docker login --password-stdin", "echo hello | sudo tee x"),
        1,
        validate=told_password,
        label="PASSWORD",
    ),
    plain(
        "call-password",
        "(?:auth|login|credentials)[ \\t]?=?[ \\t]?\\([ \\t]?[\"'][^\"'\\r\\n]{1,80}[\"'],[ \\t]?[\"']([^\"'\\r\\n]{3,128})[\"']",
        "(?:auth|login|credentials)[ \\t]?=?[ \\t]?\\([ \\t]?[\"']",
        250,
        ("requests.get(url, auth=('ann', '" + "Swordfish7'))", 'smtp.login("bob", "' + 'hunter2")'),
        ("login('user', 'password')", "auth('basic', '<password>')", "login(user, password)"),
        1,
        validate=quoted_password,
        ignore_case=True,
        label="PASSWORD",
        before=20,
    ),
    plain(
        "password-file",
        "(?:localhost|[0-9a-z-]{1,40}(?:\\.[0-9a-z-]{1,40}){1,6}|\\*):(?:[0-9]{2,5}|\\*):[a-z_*][0-9a-z_.*-]{0,62}:[0-9a-z_.@-]{1,63}:([^\\s:\"']{4,100})",
        ":(?:[0-9]{2,5}|\\*):[a-z_*][0-9a-z_.*-]{0,62}:[0-9a-z_.@-]{1,63}:[^\\s:\"']",
        110,
        ("db.example.net:5432:app:ann:" + "Sw0rdfish", "localhost:*:*:postgres:" + "hunter22"),
        ("db.example.net:5432:app:ann:", "main.go:12:5:error:failed", "10:20:30:40:50"),
        1,
        validate=told_password,
        ignore_case=True,
        not_before=ALNUM,
        before=460,
        label="PASSWORD",
    ),
    plain(
        "oracle-credentials",
        "jdbc:oracle:[a-z]{3,8}:([^\\s/:@\"']{1,60}/[^\\s/@\"']{3,100})@",
        "jdbc:oracle:[a-z]{3,8}:",
        200,
        ("jdbc:oracle:thin:scott/" + "Sw0rdfish@//db:1521/x", "jdbc:oracle:oci:app/" + "hunter22@tns"),
        ("jdbc:oracle:thin:@//db:1521/x", "jdbc:oracle:thin"),
        1,
        ignore_case=True,
        label="CREDENTIALS",
        before=24,
    ),
    plain(
        "registry-credentials",
        "_?auth[\"'\\\\]{0,4}[ \\t]{0,3}[:=][ \\t]{0,3}[\"'\\\\]{0,4}([0-9a-z+/_-]{8,600}={0,2})",
        "auth[\"'\\\\]{0,4}[ \\t]{0,3}[:=]",
        640,
        ('"auth": "dXNlcjpwYXNz' + 'd29yZDE="', "_auth=YWRtaW46aHVudGVy" + "Mg=="),
        ("auth: required", '"auth": "oauth2"', "auth = basic"),
        1,
        validate=basic_credentials,
        ignore_case=True,
        before=24,
        label="CREDENTIALS",
    ),
    plain(
        "pin-told",
        "(?:pin|pin code|pin-code|one-time code|verification code|security code|otp|2fa code|passcode)(?: (?:is|code is|number is)|:|=| =)[ \\t]{0,2}([0-9]{4,8})",
        "(?:pin|code|otp)(?: (?:is|code is|number is)|:|=| =)",
        60,
        ("my PIN is 4821", "otp: 903114", "Your verification code is 551209"),
        ("spin: 4821", "pinned is 4", "error code: 4041"),
        1,
        ignore_case=True,
        not_before=ALNUM,
        not_after=ALNUM,
        before=40,
        label="PIN",
    ),
)
