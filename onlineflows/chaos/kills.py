"""SIGKILL at random moments: of the consumer, of the producer, of both."""

from onlineflows.chaos.stage import Stage
from onlineflows.chaos.stream import DEADLINE_S

CONSUMER_LIFE_S = 0.5
"""Longest time that a consumer works before it is killed: some ten checkpoints."""

PRODUCER_LIFE_S = 0.4
BOTH_GAP_S = 0.1

GIVE_UP_S = 3.0
"""After so long without a producer a consumer gives up."""


def kill_consumer(stage: Stage, rounds: int) -> int:
    """Kills the consumer at random moments of its work; each one that follows resumes."""
    stage.begin()
    for n in range(rounds):
        if not stage.dwell(stage.rng.uniform(0, CONSUMER_LIFE_S)):
            return n
        stage.consumer.kill()
        if stage.is_told():
            return n + 1
        stage.hit()
        stage.start_consumer()
        stage.wait_for_run()
    return rounds


def kill_producer(stage: Stage, rounds: int) -> int:
    """Kills the producer at random moments of its work and starts it again."""
    stage.begin()
    for n in range(rounds):
        if not stage.dwell(stage.rng.uniform(0, PRODUCER_LIFE_S)):
            return n
        stage.producer.kill()
        if stage.is_durable:
            return n + 1
        stage.hit()
        stage.start_producer().wait_for("listening at", deadline_s=DEADLINE_S)
    return rounds


def kill_both(stage: Stage, rounds: int) -> int:
    """Kills both, one shortly after the other, and starts both again, in random orders."""
    stage.begin()
    for n in range(rounds):
        if not stage.dwell(stage.rng.uniform(0, CONSUMER_LIFE_S)):
            return n
        victims = stage.rng.sample((stage.producer, stage.consumer), 2)
        victims[0].kill()
        stage.dwell(stage.rng.uniform(0, BOTH_GAP_S))
        victims[1].kill()
        if stage.is_durable and stage.producer.process.returncode == 0:
            return n + 1
        stage.hit()
        for start in stage.rng.sample((stage.start_producer, stage.start_consumer), 2):
            start()
        stage.wait_for_run()
    return rounds


def kill_one_of_two(stage: Stage, rounds: int) -> int:
    """Kills one of two consumers that share the stream at random moments; it resumes, and the other
    goes on meanwhile.
    """
    stage.begin()
    for n in range(rounds):
        if not stage.dwell(stage.rng.uniform(0, CONSUMER_LIFE_S)) or not stage.beside.is_running:
            return n
        is_first = stage.rng.random() < 0.5
        (stage.consumer if is_first else stage.beside).kill()
        stage.hit()
        again = stage.start_consumer() if is_first else stage.start_beside()
        again.wait_for("run began|the run has ended", deadline_s=DEADLINE_S)
    return rounds


def lose_producer(stage: Stage, _rounds: int) -> int:
    """Kills the producer and starts no other: the consumer gives up, says so, and can go on later
    from its checkpoint.
    """
    stage.start_producer()
    stage.start_consumer({"wire.connect_timeout_s": GIVE_UP_S})
    if not (stage.wait_for_checkpoint(0) and stage.dwell(stage.rng.uniform(0, CONSUMER_LIFE_S))):
        return 0
    stage.producer.kill()
    code = stage.consumer.finish(deadline_s=DEADLINE_S)
    said = "nothing heard from the producer" in stage.consumer.log
    stage.require(
        code == 2 and said, f"a consumer that gives up; {code}, {stage.consumer.log[-500:]}"
    )
    stage.hit()
    stage.start_consumer()
    stage.start_producer()
    return 1
