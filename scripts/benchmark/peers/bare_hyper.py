"""The floor: hyper alone reads the body and answers the same bytes. See bare_hyper/main.rs."""

from peers import Ground, Peer
from process import free_port


def peers(ground: Ground) -> list[Peer]:
    room, port = ground.room("bare-hyper"), free_port()
    answer = room / "answer.json"
    answer.write_text(ground.keys[0].answer())
    command = [str(ground.binaries / "bare-hyper"), str(port), str(answer)]
    return [Peer("bare-hyper", "bare hyper, constant answer", command, port, room, refuses=False)]
