"""A random sample that the page can draw again: the same seed gives the same cards here and in the page's script."""

_MASK = 0xFFFFFFFF
_SPREAD = 2654435761  # Knuth's multiplicative hash, so that neighbouring seeds start far apart
_WARM_UP = 8


def draw(total: int, count: int, seed: int) -> list[int]:
    """`count` different numbers below `total`, ascending; all of them where there are no more.

    A partial Fisher-Yates shuffle over xorshift32 (Marsaglia 2003), both small enough to stand in `transcripts.js` as
    well; a browser test holds the two together.
    """
    numbers = list(range(total))
    state = (((seed + 1) & _MASK) * _SPREAD) & _MASK or 1
    for _ in range(_WARM_UP):
        state = _next(state)
    for place in range(min(count, total)):
        state = _next(state)
        other = place + state % (total - place)
        numbers[place], numbers[other] = numbers[other], numbers[place]
    return sorted(numbers[:count])


def _next(state: int) -> int:
    state ^= (state << 13) & _MASK
    state ^= state >> 17
    return state ^ ((state << 5) & _MASK)
