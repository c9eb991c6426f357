"""What answers the SuperNode's messages: a courier for each, from a process that is ready.

Flower starts a new Python for every message, which takes two seconds before it says a word. Here
one clean process loads Flower and the courier once, and each message is carried by a copy of it.

Run as a module by `trifed site start`; the arguments are those of `flower-superexec`.
"""

import multiprocessing
from pathlib import Path
from typing import Any

from flwr.app import Error
from flwr.supercore.cli import flower_superexec
from flwr.supercore.constant import TaskType
from flwr.supercore.superexec import run_superexec
from flwr.supercore.superexec.executor import ExecutionSpec, LaunchResult
from flwr.supernode.runtime import run_clientapp

from shared.supervision import end_with_parent

READY = ["flwr.supercore.cli", "flwr.supernode.runtime.run_clientapp", "client.courier"]
"""What is loaded before the first message."""


def carry(spec: ExecutionSpec) -> None:
    """Carry one message, in a process of its own."""
    certificates = spec.root_certificates_path
    run_clientapp.Error = without_words  # type: ignore[assignment,attr-defined]
    run_clientapp.run_clientapp(
        runtime_api_address=spec.runtime_api_address,
        token=spec.token,
        insecure=spec.insecure,
        certificates=Path(certificates).read_bytes() if certificates else None,
        parent_pid=spec.parent_pid,
        runtime_dependency_install=False,
    )


def without_words(code: int, reason: str | None = None) -> Error:  # noqa: ARG001
    """Flower's error with its code alone.

    Flower tells the server what an exception says, also of one that is raised before the courier
    runs: that the disk is full, say, with the path at which it is.
    """
    return Error(code, "")


class ReadyCouriers:
    """Flower's place for who starts a message's process; see `Executor` there."""

    def __init__(self) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(READY)
        self._carrying: list[Any] = []

    def get_eligible_capacity(
        self, supported_task_types: set[TaskType], **_: Any
    ) -> tuple[set[TaskType], set[str]]:
        """Couriers alone; a SuperNode has one message at a time."""
        return supported_task_types & {TaskType.CLIENT_APP}, set()

    def wait_for_capacity(self, *_: Any, **__: Any) -> None:
        """There is nothing to wait for: capacity is told beforehand."""

    def launch(self, spec: ExecutionSpec) -> LaunchResult:
        """Send a courier."""
        if spec.task_type != TaskType.CLIENT_APP:
            return LaunchResult.failed("only couriers are sent here")
        process = self._context.Process(target=carry, args=(spec,), daemon=True)
        process.start()
        self._carrying.append(process)
        return LaunchResult.accepted()

    def reconcile(self) -> None:
        """Forget the couriers that are back."""
        self._carrying = [process for process in self._carrying if process.is_alive()]

    def close(self) -> None:
        """Recall those that are out."""
        for process in self._carrying:
            process.terminate()


def main() -> None:
    """Serve, with couriers that are ready."""
    end_with_parent()
    run_superexec.get_executor = lambda *_, **__: ReadyCouriers()  # type: ignore[attr-defined]
    flower_superexec()


if __name__ == "__main__":
    main()
