"""From instance states to SSH hosts and back: one reconciler that keeps both true.

An instance is `pending` until its host's SSH banner has been read; a host that ends by itself stops or terminates its
instance. What a host is depends on the sandbox's kind of host. Not simulated: security groups' effect, the metadata
service, disks, reboots.
"""

import logging
import threading
from pathlib import Path
from typing import Any

from nightreel.sandbox import init
from nightreel.sandbox.account import DEAD, Account, Instance
from nightreel.sandbox.faults import Fault
from nightreel.sandbox.machine import Kind, Machine


class Hosts(threading.Thread):
    """The reconciler. Whoever changes or reads instance states holds `lock`, so that nobody sees a state too early."""

    def __init__(self, account: Account, directory: Path, *, ssh_port: int, kind: Kind) -> None:
        super().__init__(name="reconciler", daemon=True)
        self.lock = threading.RLock()
        self._account = account
        self._directory = directory
        self._ssh_port = ssh_port
        self._kind = kind
        self._machines: dict[str, Machine] = {}
        self._faults: dict[str, list[str]] = {}
        self._buried: set[str] = set()
        self._closing = threading.Event()

    def run(self) -> None:
        """Reconcile until closed."""
        while not self._closing.wait(0.05):
            try:
                self._listen_for_banners()
                with self.lock:
                    self.reconcile()
            except Exception:
                logging.exception("the reconciler goes on after this error")

    def expect_fault(self, instance_id: str, fault: Fault) -> None:
        """Let a host that has not been booted yet be a faulty one."""
        self._faults.setdefault(instance_id, []).append(fault.kind)

    def reconcile(self) -> None:
        """Bring hosts and instance states together, once. Hold the lock."""
        instances = list(self._account.instances())
        for instance in instances:
            self._notice_end(instance)
        ended = [instance for instance in instances if instance.state not in ("pending", "running")]
        running = [machine for i in ended if (machine := self._machines.get(i.id)) and machine.running]
        for machine in running:
            machine.order_end()
        for machine in running:
            machine.await_end()
        for instance in instances:
            if instance.state in DEAD and instance.id not in self._buried:
                self._bury(instance)
            elif instance.state == "running":
                self._ensure_booted(instance)

    def _notice_end(self, instance: Instance) -> None:
        """A host that has gone by itself takes its instance along."""
        machine = self._machines.get(instance.id)
        if machine is None or not machine.running or (code := machine.exit_code()) is None:
            return
        if instance.state not in ("pending", "running"):
            return
        if code == init.POWERED_OFF:
            reason = {"code": "Client.InstanceInitiatedShutdown", "message": "Instance initiated shutdown"}
        else:
            reason = {"code": "Server.InternalError", "message": "The host has died"}
        launching = instance.state == "pending" and not machine.answered
        behaviour = instance.instance_initiated_shutdown_behavior
        self._account.shut_down(instance, terminate=launching or behaviour == "terminate", **reason)

    def _bury(self, instance: Instance) -> None:
        self._buried.add(instance.id)
        self._account.release(instance)
        if machine := self._machines.get(instance.id):
            machine.wipe()

    def _ensure_booted(self, instance: Instance) -> None:
        machine = self._machines.get(instance.id)
        if machine and machine.running:
            return
        instance._state.name, instance._state.code = "pending", 0
        try:
            if machine is None:
                machine = self._machines[instance.id] = Machine(
                    self._directory / instance.id,
                    instance,
                    kind=self._kind,
                    public_key=self._account.public_key(instance),
                    faults=self._faults.pop(instance.id, ()),
                )
            machine.boot(port=self._ssh_port)
        except OSError as error:
            logging.exception("the host of %s can not be started", instance.id)
            message = f"The host could not be started: {error}"
            self._account.shut_down(instance, code="Server.InternalError", message=message, terminate=True)

    def _listen_for_banners(self) -> None:
        with self.lock:
            pending = [instance for instance in self._account.instances() if instance.state == "pending"]
        for instance in pending:
            machine = self._machines.get(instance.id)
            if machine and machine.exit_code() is None and machine.greets(self._ssh_port):
                with self.lock:
                    if instance.state == "pending" and machine.running:
                        machine.answered = True
                        instance._state.name, instance._state.code = "running", 16

    def crash(self, instance_id: str) -> bool:
        """Kill a host; False when there is no such running one."""
        with self.lock:
            if machine := self._running(instance_id):
                machine.crash()
            return machine is not None

    def drop(self, instance_id: str) -> bool:
        """Cut every SSH session of a host; False when there is no such running one."""
        with self.lock:
            if machine := self._running(instance_id):
                machine.drop()
            return machine is not None

    def plug(self, instance_id: str, *, connected: bool) -> bool:
        """Put a host's network plug in or pull it; False when there is no such running one.

        Raises SandboxError when hosts of this kind have no cable of their own.
        """
        with self.lock:
            if machine := self._running(instance_id):
                machine.plug(connected=connected)
            return machine is not None

    def _running(self, instance_id: str) -> Machine | None:
        machine = self._machines.get(instance_id)
        return machine if machine and machine.running else None

    def console(self, instance_id: str) -> str:
        """The boot log of an instance, '' when it has none."""
        log = self._directory / instance_id / "boot.log"
        return log.read_text(errors="replace") if log.exists() else ""

    def view(self) -> list[dict[str, Any]]:
        """Every instance: id, state, address and home."""
        with self.lock:
            return [
                {
                    "id": instance.id,
                    "state": instance.state,
                    "address": instance.private_ip,
                    "home": str(self._kind.home(self._directory / instance.id)),
                }
                for instance in self._account.instances()
            ]

    def close(self) -> None:
        """End every host and wait until all are gone."""
        self._closing.set()
        self.join()
        with self.lock:
            running = [machine for machine in self._machines.values() if machine.running]
            for machine in running:
                machine.order_end()
            for machine in running:
                machine.await_end()
            self._kind.close()
