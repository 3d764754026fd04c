"""Which tests go together where several run at a time."""

from pathlib import PurePath

from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]


class ByService(LoadScopeScheduling):  # type: ignore[misc]
    """Tests that share a service run one after the other; each that breaks its own goes where there is room."""

    def _split_scope(self, nodeid: str) -> str:
        path = PurePath(nodeid.partition("::")[0])
        match path.parent.name:
            case "triton":  # all ask the one service
                return str(path.parent)
            case "faults":
                return nodeid
            case _:
                return str(path)
