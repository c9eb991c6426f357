"""The coordinator's programs as command lines: the SuperLink, and what starts the study on it."""

from collections.abc import Mapping

from server.deploy.place import Place
from shared.launch import environment, python
from shared.supervision import Program

SUPERLINK, EXECUTOR = "superlink", "executor"
SECRET = "TRIFED_SECRET_FILE"
"""The variable that names the file of the coordinator's secret to the SuperLink."""
FOLDER = "TRIFED_SERVER_FOLDER"
"""The variable that names the deployment's folder to the ServerApp."""
CERTIFICATE, KEY = "TRIFED_LOCAL_CERTIFICATE", "TRIFED_LOCAL_KEY"
"""The variables that name the files of this machine's certificate to the SuperLink."""
TASK_POLL_S = "0.5"


def programs(place: Place, *, outer: Mapping[str, str] | None = None) -> list[Program]:
    """What runs at the coordinator, in the order of starting."""
    around = environment(
        place.home,
        outer=outer,
        FLWR_SUPEREXEC_TASK_POLL_INTERVAL=TASK_POLL_S,
        **{
            SECRET: str(place.secret),
            FOLDER: str(place.folder),
            CERTIFICATE: str(place.local_certificate),
            KEY: str(place.local_key),
        },
    )
    return [
        Program(SUPERLINK, superlink(place), around, place.logs / "superlink.log"),
        Program(EXECUTOR, executor(place), around, place.logs / "executor.log"),
    ]


def superlink(place: Place) -> tuple[str, ...]:
    """The SuperLink: always with TLS, always with the sites' keys, its state on disk."""
    return python(
        "server.deploy.superlink",
        *("--host", place.listens_on.host, "--port", str(place.listens_on.port)),
        *("--ssl-ca-certfile", str(place.made.authority_file)),
        *("--ssl-certfile", str(place.made.certificate_file)),
        *("--ssl-keyfile", str(place.made.key_file)),
        "--enable-supernode-auth",
        *("--isolation", "process"),
        *("--superexec-auth-secret-file", str(place.secret)),
        *("--database", str(place.database)),
        "--disable-runtime-dependency-installation",
    )


def executor(place: Place) -> tuple[str, ...]:
    """What starts the ServerApp; apart from the SuperLink, whose crash a run then outlives."""
    return python(
        "server.deploy.executor",
        *("--runtime-api-address", place.local_address),
        *("--root-certificates", str(place.local_ca)),
        *("--superexec-auth-secret-file", str(place.secret)),
    )
