"""The demo reads as a dialogue: no line breaks off, and lines answer each other."""

from random import Random

from dreamd.ctl.commands.demo.command import PROMPTS
from dreamd.ctl.stand_in.field import TrigramField, read_story, split_sentences
from dreamd.ctl.stand_in.leo import SENTENCES
from dreamd.dream.dialogue import DialogueSettings, Generate, Observe, speak_dialogue
from dreamd.dream.draws import Draws
from dreamd.dream.friend import Friend, FriendSettings, split_origin
from dreamd.dream.model import Answer, Context, Fragment, Line, Pulse
from tests.helpers.dialogue_measures import answers, cut_share

DIALOGUES = 60


def dreamt(field: TrigramField, friend: Friend, prompt: str, seed: int) -> list[Line]:
    """Return the lines of one dialogue after a prompt, as the demo's hooks and the daemon make it."""
    reply = field.reply(prompt)
    ctx = Context(prompt=prompt, reply=reply, pulse=Pulse(**field.pulse(f"{prompt} {reply}")))
    field.observe(prompt)
    field.observe(reply)
    run = speak_dialogue(ctx, friend, Draws(seed), DialogueSettings(), can_recall=False)
    answer = None
    try:
        while True:
            match run.send(answer):
                case Generate(seed=asked, temperature=temperature, semantic_weight=weight):
                    answer = Answer(text=field.generate(asked, temperature, weight, count=SENTENCES))
                case Observe(line):
                    field.observe(line.text)
                    answer = None
                case _:
                    answer = None
    except StopIteration as end:
        lines: list[Line] = end.value.lines
        return lines


def test_no_line_is_cut_and_lines_answer_each_other() -> None:
    born = split_origin(split_sentences(read_story()), [], 256)
    told: list[list[str]] = []
    while len(told) < DIALOGUES:
        field = TrigramField(Random(len(told)))
        field.observe(read_story())
        friend = Friend(
            tuple(
                Fragment(id=n, text=text, weight=1.0, origin=True, dialog=None, added_at=0.0)
                for n, text in enumerate(born)
            ),
            len(born),
        )
        for prompt in PROMPTS:
            lines = dreamt(field, friend, prompt, len(told))
            assert len(lines) in (3, 4)
            said = [line for line in lines if line.speaker == "friend"]
            friend, _ = friend.after(said, dialog=len(told), at=0.0, settings=FriendSettings())
            told.append([line.text for line in lines])
    assert cut_share([line for lines in told for line in lines]) == 0.0
    assert answers(told) >= 3.0
    assert max(len(line.split()) for lines in told for line in lines) <= 30
