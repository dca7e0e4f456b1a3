"""One token for all rows of a Transformer: by one thread, or by a thread that leads and others that help. Compiled by Numba.

The leader opens a phase (a product, the attention, or whole rows) as a number of items. It takes items from the front. Helpers
claim items from the back, compute them into scratch of their own and mark them as done; the leader copies what is done. The leader
waits for a claimed item as long as the item should take, then computes it itself: the operating system may have
taken the helper's processor away. So a helper that stands still costs little, and nothing can wait for ever.

Only the leader writes what others read, with one exception: a helper that computes whole rows stores their keys and values. It copies
the rows' places first and gives up where the phase is over, so that it stores what the leader would store.

An item gives the same bits whoever computes it. A row's numbers do not depend, to the bit, on the other rows of its batch, nor
on the number of threads.
"""

from typing import Any

import numpy as np

from .arrays import (
    BLOCK,
    CLAIM_BITS,
    CLOSED,
    DONE,
    DOWN,
    HEAD,
    KIND_BITS,
    LAST,
    LAYER_BITS,
    MIX,
    OUT,
    POSITION,
    QKV,
    ROWS,
    SERIAL,
    TICKET,
    UP,
    WAIT,
    WHOLE,
    Cache,
    Matrix,
    aligned,
)
from .atomic import add as claim_next
from .atomic import load, pause, store, swap
from .elementwise import activate, embed, exp, norm, rotate
from .jit import join_caller, kernel, stay_apart
from .sums import largest, total
from .tile import LANES, VECTORS, add, affine, at, fetch_line

PANEL = LANES * VECTORS
"""Outputs of an item of a product."""
_ROWS = 5
_many, _one = affine(_ROWS, VECTORS), affine(1, VECTORS)
_block = add(1, BLOCK // LANES)
_LINES, _PARTS = 16, 256
"""Cache lines that a waiting thread asks for between two looks, and the most looks at which it does so: 256 KiB."""
_SERIAL_SHIFT = CLAIM_BITS + LAYER_BITS + KIND_BITS


def arrange(matrix: Matrix) -> Matrix:
    """Rows [L, out, n] → panels of outputs [L, panels, n, PANEL], padded by zeros, so that a tile reads weights in a row; scales alike."""
    value, scale = _panels(matrix.value), _panels(matrix.scale)
    bias = aligned((len(scale), scale.shape[1] * PANEL))
    bias[:, : matrix.bias.shape[1]] = matrix.bias
    return matrix._replace(value=value, scale=scale, bias=bias)


def _panels(rows: Any) -> Any:
    layers, out, size = rows.shape
    panels = aligned((layers, -(-out // PANEL), size, PANEL), rows.dtype)
    for layer in range(layers):
        padded = np.zeros((panels.shape[1] * PANEL, size), rows.dtype)
        padded[:out] = rows[layer]
        panels[layer] = padded.reshape(-1, PANEL, size).transpose(0, 2, 1)
    return panels


@kernel(counted=False)
def _panel(matrix: Any, layer: int, panel: int, x: Any, y: Any, rows: int) -> None:
    """y[:rows, this panel] = scale · (x @ w) + bias; see `arrange` for the matrix; x [rows, at least in], y [rows, panels · PANEL]."""
    stay_apart()
    value, groups, size, number = matrix.value, matrix.scale.shape[2], matrix.size, layer * matrix.value.shape[1] + panel
    source, first = at(value, number * value.shape[2] * PANEL), panel * PANEL
    factor, shift = at(matrix.scale, number * groups * PANEL), at(matrix.bias, layer * matrix.bias.shape[1] + first)
    for row in range(0, rows, _ROWS):
        here, there = at(x, row * x.shape[1]), at(y, row * y.shape[1] + first)
        if rows - row == 1:
            _one(here, x.shape[1], 1, source, PANEL, size, there, y.shape[1], factor, shift)
        else:
            _many(here, x.shape[1], min(_ROWS, rows - row), source, PANEL, size, there, y.shape[1], factor, shift)


@kernel(counted=False)
def _norms(rms: bool, eps: float, affine: Any, x: Any, y: Any, rows: int) -> None:
    stay_apart()
    for row in range(rows):
        norm(rms, eps, affine, x[row], y[row])


@kernel(counted=False)
def _softmax(scores: Any, start: int, end: int) -> Any:
    """Exponentials of these scores, in place, divided by the largest; gives their sum."""
    most = largest(at(scores, start), end - start)
    for place in range(start, end):
        scores[place] = exp(scores[place] - most)
    return total(at(scores, start), end - start)


@kernel(counted=False)
def _enter(
    qk: Any, rope: Any, keys: Any, values: Any, place: int, slot: int, qkv: Any,
    layer: int, heads: int, kv_heads: int, rms: bool, eps: float, scale: float,
) -> None:  # fmt: skip
    """Norm and rotate one row's queries and keys, scale its queries, store its keys and values."""
    stay_apart()
    width, group, block, lane = keys.shape[4], heads // kv_heads, place // BLOCK, place % BLOCK
    for kv in range(kv_heads):
        for head in range(kv * group, (kv + 1) * group + 1):
            is_key = head == (kv + 1) * group
            first = (heads + kv if is_key else head) * width
            vector = qkv[first : first + width]
            if qk.shape[0]:
                norm(rms, eps, qk[1 if is_key else 0], vector, vector)
            if rope.shape[0]:
                rotate(rope[place], vector)
            if not is_key:
                for i in range(width):
                    vector[i] *= np.float32(scale)
        key, value = (heads + kv) * width, (heads + kv_heads + kv) * width
        for i in range(width):
            keys[layer, slot, block, kv, i, lane] = qkv[key + i]
            values[layer, slot, block, kv, lane, i] = qkv[value + i]


@kernel(counted=False)
def _mix(
    keys: Any, values: Any, where: Any, start: int, stop: int, qkv: Any, mixed: Any,
    layer: int, group: int, begin: int, end: int, scores: Any, sums: Any,
) -> None:  # fmt: skip
    """One row's queries of these heads of keys over positions start … stop - 1: the mean of the values, weighted by softmax(q · k).

    Blocks are the outer loop, because a block's heads lie side by side: memory is read in a row.
    """
    size, padded, kv_heads = keys.shape[4], values.shape[5], keys.shape[3]
    for head in range(begin * group, end * group):
        for place in range((stop - 1) // BLOCK * BLOCK + BLOCK):
            scores[head, place] = 0
        for i in range(padded):
            sums[head, i] = 0
    for block in range(start // BLOCK, (stop - 1) // BLOCK + 1):
        cell = ((layer * keys.shape[1] + where[block]) * keys.shape[2] + block) * kv_heads
        for head in range(begin * group, end * group):
            source = at(keys, (cell + head // group) * size * BLOCK)
            _block(at(qkv, head * size), 0, 1, source, BLOCK, size, at(scores, head * scores.shape[1] + block * BLOCK), 0, 0, 0)
    for head in range(begin * group, end * group):
        factor = np.float32(1) / _softmax(scores[head], start, stop)
        for place in range(start, stop):
            scores[head, place] *= factor
    for block in range(start // BLOCK, (stop - 1) // BLOCK + 1):
        cell = ((layer * keys.shape[1] + where[block]) * keys.shape[2] + block) * kv_heads
        first = max(start, block * BLOCK)
        count = min(stop, block * BLOCK + BLOCK) - first
        for head in range(begin * group, end * group):
            source = ((cell + head // group) * BLOCK + first - block * BLOCK) * padded
            weights, sink = at(scores, head * scores.shape[1] + first), head * padded
            for lane in range(0, padded, BLOCK):
                _block(weights, 0, 1, at(values, source + lane), padded, count, at(sums, sink + lane), 0, 0, 0)
    for head in range(begin * group, end * group):
        for i in range(size):
            mixed[head * size + i] = sums[head, i]


@kernel(counted=False)
def _attend(
    cache: Any, window: int, layer: int, heads: int, kv_heads: int, qkv: Any, mixed: Any, scores: Any, sums: Any, rows: int,
    begin: int, end: int,
) -> None:  # fmt: skip
    """Mix what each row sees, for these heads of keys."""
    stay_apart()
    room = cache.where.shape[1] * BLOCK
    for row in range(rows):
        stop = min(cache.lengths[row] + 1, room)  # a helper that is late may read a later length
        start = max(0, stop - window) if window else 0
        _mix(
            cache.keys, cache.values, cache.where[row], start, stop, qkv[row], mixed[row], layer, heads // kv_heads, begin, end,
            scores, sums,
        )  # fmt: skip


@kernel(counted=False)
def _activate(kind: int, x: Any, y: Any, rows: int) -> None:
    stay_apart()
    for row in range(rows):
        activate(kind, x[row], y[row])


@kernel(counted=False)
def _item(w: Any, cache: Any, s: Any, logits: Any, kind: int, layer: int, item: int, rows: int, source: int, me: int) -> None:
    """Compute one item of a phase from the scratch of thread `source` into that of thread `me`; item -1: all heads at once."""
    join_caller()
    if kind == MIX:
        begin, end = (0, w.kv_heads) if item < 0 else (item, item + 1)
        _attend(
            cache, w.windows[layer], layer, w.heads, w.kv_heads, s.qkv[source], s.mixed[me], s.scores[me], s.sums[me], rows, begin, end
        )  # fmt: skip
        return
    if kind == HEAD:
        _panel(w.head, layer, item, s.h[source], logits, rows)
        return
    matrix, x, y = w.qkv, s.h[source], s.qkv[me]
    if kind == OUT:
        matrix, x, y = w.out, s.mixed[source], s.out[me]
    elif kind == UP:
        matrix, x, y = w.up, s.h[source], s.up[me]
    elif kind == DOWN:
        matrix, x, y = w.down, s.inner[source], s.out[me]
    _panel(matrix, layer, item, x, y, rows)


@kernel(counted=False)
def _items(w: Any, kind: int) -> Any:
    """Items of a phase of that kind."""
    join_caller()
    if kind == QKV:
        return w.qkv.value.shape[1]
    if kind == MIX:
        return w.kv_heads
    if kind == OUT:
        return w.out.value.shape[1]
    if kind == UP:
        return w.up.value.shape[1]
    if kind == DOWN:
        return w.down.value.shape[1]
    return w.head.value.shape[1]


@kernel(counted=False)
def _columns(source: Any, target: Any, rows: int, first: int, count: int) -> None:
    for row in range(rows):
        here, there = source[row], target[row]
        for column in range(first, first + count):
            there[column] = here[column]


@kernel(counted=False)
def _fetch(w: Any, s: Any, logits: Any, kind: int, item: int, rows: int, helper: int) -> None:
    """Copy what a helper computed into the leader's scratch."""
    join_caller()
    if kind == QKV:
        _columns(s.qkv[helper], s.qkv[0], rows, item * PANEL, PANEL)
    elif kind == MIX:
        group = s.mixed.shape[2] // w.kv_heads
        _columns(s.mixed[helper], s.mixed[0], rows, item * group, group)
    elif kind == UP:
        _columns(s.up[helper], s.up[0], rows, item * PANEL, PANEL)
    elif kind == HEAD:
        _columns(s.logits[helper], logits, rows, item * PANEL, PANEL)
    else:
        _columns(s.out[helper], s.out[0], rows, item * PANEL, PANEL)


@kernel(counted=False)
def _read_ahead(w: Any, kind: int, layer: int, part: int, forwards: bool) -> None:
    """While a thread waits, ask for one part of the weights of the product that follows this phase: memory never rests.

    The leader takes the panels of a product forwards, a helper backwards: half of them each.
    """
    stay_apart()
    step = 0 if kind == HEAD else layer * HEAD + kind + (2 if kind == QKV else 1)
    layer, kind = step // HEAD, step % HEAD
    if layer == w.norms.shape[0]:
        _ask_for(w.head.value, 0, part, forwards)
    elif kind == OUT:
        _ask_for(w.out.value, layer, part, forwards)
    elif kind == UP:
        _ask_for(w.up.value, layer, part, forwards)
    elif kind == DOWN:
        _ask_for(w.down.value, layer, part, forwards)
    else:
        _ask_for(w.qkv.value, layer, part, forwards)


@kernel(counted=False)
def _ask_for(value: Any, layer: int, part: int, forwards: bool) -> None:
    panels, size, stride = value.shape[1], value.shape[2] * PANEL, 64 // value.itemsize
    panel, place = divmod(part * _LINES * stride, size)
    if panel < panels // 2:
        first = (layer * panels + (panel if forwards else panels - 1 - panel)) * size + place
        for line in range(_LINES):
            fetch_line(at(value, first + line * stride))


@kernel(counted=False)
def _open(team: Any, kind: int, layer: int, rows: int) -> Any:
    """Publish a phase; gives its serial number."""
    join_caller()
    serial = team[SERIAL] + 1
    team[SERIAL] = serial
    store(team, POSITION, -1)
    store(team, ROWS, rows)
    store(team, TICKET, ((serial << KIND_BITS | kind) << LAYER_BITS | layer) << CLAIM_BITS)
    return serial


@kernel(counted=False)
def _free(team: Any, item: int, items: int) -> Any:
    """Whether the leader may take this item: no helper has claimed it."""
    join_caller()
    free = item < items - (load(team, TICKET) & ((1 << CLAIM_BITS) - 1))
    if free:
        store(team, POSITION, item)
    return free


@kernel(counted=False)
def _done_by(w: Any, team: Any, item: int, serial: int, kind: int, layer: int) -> Any:
    """The helper that computed this item; 0 where none did in the time that it should take."""
    for look in range(team[WAIT + kind]):
        word = load(team, DONE + item)
        if word >> 8 == serial:
            return word & 255
        if kind != WHOLE and look < _PARTS:
            _read_ahead(w, kind, layer, look, True)
        else:
            pause()
    return 0


@kernel(counted=False)
def _next(w: Any, team: Any, kind: int, layer: int, serial: int, items: int, front: int, back: int) -> Any:
    """The item that the leader takes next (-1: none is left), the helper that did it (0: none), and the new front and back.

    serial 0: the leader works alone.
    """
    join_caller()
    if front <= back and (not serial or _free(team, front, items)):
        return front, 0, front + 1, back
    if front <= back:
        return back, _done_by(w, team, back, serial, kind, layer), front, back - 1
    return -1, 0, front, back


@kernel(counted=False)
def _phase(w: Any, cache: Any, s: Any, logits: Any, team: Any, kind: int, layer: int, rows: int, me: int, shared: bool) -> None:
    """All items of a phase; shared: with whatever helpers come."""
    join_caller()
    items = _items(w, kind)
    serial = _open(team, kind, layer, rows) if shared else 0
    front, back, helper = 0, items - 1, 0
    while True:
        item, helper, front, back = _next(w, team, kind, layer, serial, items, front, back)
        if item < 0:
            break
        if helper:
            _fetch(w, s, logits, kind, item, rows, helper)
            continue
        if kind == MIX and not shared:  # a block's heads lie side by side
            item, front = -1, items
        _item(w, cache, s, logits, kind, layer, item, rows, me, me)


@kernel(counted=False)
def _prepare(w: Any, cache: Any, slots: Any, s: Any, kind: int, layer: int, rows: int, me: int) -> None:
    """What precedes a phase, row by row: residual sums, norms, keys and values, activation."""
    join_caller()
    x, h, qkv, out, up, inner, size = s.x[me], s.h[me], s.qkv[me], s.out[me], s.up[me], s.inner[me], w.embedding.shape[1]
    if kind == UP or (layer and kind in (QKV, HEAD)):
        _add(x, out, rows, size)
    if kind == MIX:
        for row in range(rows):
            _enter(
                w.qk[layer], w.rope, cache.keys, cache.values, cache.lengths[row], slots[row], qkv[row],
                layer, w.heads, w.kv_heads, w.rms, w.eps, w.scale,
            )  # fmt: skip
    elif kind == DOWN:
        _activate(w.activation, up, inner, rows)
    elif kind != OUT:
        if not w.norm_first and (kind == UP or layer):
            affine = w.norms[layer, 0] if kind == UP else w.norms[layer - 1, 1]
            _norms(w.rms, w.eps, affine, x, x, rows)
        if kind == HEAD and w.final_norm.shape[0]:
            _norms(w.rms, w.eps, w.final_norm, x, h, rows)
        elif kind != HEAD and w.norm_first:
            _norms(w.rms, w.eps, w.norms[layer, 1 if kind == UP else 0], x, h, rows)
        else:
            _columns(x, h, rows, 0, size)


@kernel(counted=False)
def _add(x: Any, y: Any, rows: int, size: int) -> None:
    for row in range(rows):
        here, there = y[row], x[row]
        for i in range(size):
            there[i] += here[i]


@kernel(counted=False)
def _token(
    w: Any, cache: Any, slots: Any, tokens: Any, s: Any, logits: Any, team: Any, me: int, shared: bool, serial: int
) -> None:  # fmt: skip
    """Append one token to each of these rows and write their logits. A helper gives up where its phase, `serial`, is over."""
    join_caller()
    rows, layers = tokens.shape[0], w.norms.shape[0]
    for row in range(rows):
        embed(w, cache.lengths[row], tokens[row], s.x[me, row])
    for step in range(HEAD * layers + 1):
        layer, kind = step // HEAD, HEAD if step == HEAD * layers else step % HEAD
        if serial and load(team, TICKET) >> _SERIAL_SHIFT != serial:
            return
        _prepare(w, cache, slots, s, kind, layer, rows, me)
        _phase(w, cache, s, logits, team, kind, 0 if kind == HEAD else layer, rows, me, shared)


@kernel(counted=False)
def _help_chunk(
    w: Any, cache: Any, slots: Any, tokens: Any, s: Any, team: Any, first: int, last: int, serial: int, me: int
) -> None:  # fmt: skip
    count = last - first
    where, places = s.where[me], s.places[me]
    for row in range(count):
        places[0, row], places[1, row], places[2, row] = cache.lengths[first + row], slots[first + row], tokens[first + row]
        for block in range(where.shape[1]):
            where[row, block] = cache.where[first + row, block]
    if claim_next(team, TICKET, 0) >> _SERIAL_SHIFT == serial:  # an addition, so that the copies come before it
        part = Cache(cache.keys, cache.values, where[:count], places[0, :count])
        _token(w, part, places[1, :count], places[2, :count], s, s.logits[me, first:last], team, me, False, serial)


@kernel(counted=False)
def forward(w: Any, cache: Any, slots: Any, tokens: Any, s: Any, logits: Any, team: Any, helpers: int, chunk: int) -> None:
    """Append one token to each row and write its logits [rows, panels · PANEL]. chunk: rows of an item, 0 to share out products.

    slots [rows]: where the new keys and values go, entered into `cache.where`. `cache.lengths` are the caller's to keep.
    """
    join_caller()
    rows = tokens.shape[0]
    for row in range(rows):
        cache.where[row, cache.lengths[row] // BLOCK] = slots[row]
    size = chunk if helpers and chunk else rows
    items, shared = -(-rows // size), helpers > 0 and chunk > 0
    serial = _open(team, WHOLE, chunk, rows) if shared else 0
    front, back, helper = 0, items - 1, 0
    while True:
        item, helper, front, back = _next(w, team, WHOLE, 0, serial, items, front, back)
        if item < 0:
            break
        first, last = item * size, min(rows, (item + 1) * size)
        if helper:
            _columns(s.logits[helper, first:last], logits[first:last], last - first, 0, logits.shape[1])
            continue
        part = Cache(cache.keys, cache.values, cache.where[first:last], cache.lengths[first:last])
        _token(w, part, slots[first:last], tokens[first:last], s, logits[first:last], team, 0, helpers > 0 and not shared, 0)
    if shared:
        team[LAST], team[LAST + 1], team[SERIAL] = serial, items, serial + 1
        word = swap(team, TICKET, ((serial + 1) << KIND_BITS | CLOSED) << (LAYER_BITS + CLAIM_BITS))
        team[LAST + 2] = min(items, word & ((1 << CLAIM_BITS) - 1))


@kernel(counted=False)
def help_forward(w: Any, cache: Any, slots: Any, tokens: Any, s: Any, team: Any, me: int, patience: int) -> None:
    """Help whoever leads `team`, as thread `me` ≥ 1, until nothing was there to do for `patience` looks."""
    seen, idle, claims = -1, 0, (1 << CLAIM_BITS) - 1
    while idle < patience:
        word = load(team, TICKET)
        if word >> _SERIAL_SHIFT == seen or (word >> (LAYER_BITS + CLAIM_BITS)) & ((1 << KIND_BITS) - 1) == CLOSED:
            kind = (word >> (LAYER_BITS + CLAIM_BITS)) & ((1 << KIND_BITS) - 1)
            if kind < WHOLE and idle < _PARTS:
                _read_ahead(w, kind, (word >> CLAIM_BITS) & ((1 << LAYER_BITS) - 1), idle, False)
            else:
                pause()
            idle += 1
            continue
        word = claim_next(team, TICKET, 1)
        serial, claim, layer = word >> _SERIAL_SHIFT, word & claims, (word >> CLAIM_BITS) & ((1 << LAYER_BITS) - 1)
        kind = (word >> (LAYER_BITS + CLAIM_BITS)) & ((1 << KIND_BITS) - 1)
        if kind == CLOSED:
            continue
        rows = load(team, ROWS)
        items = -(-rows // layer) if kind == WHOLE else _items(w, kind)
        item = items - 1 - claim
        if item < 0:
            seen = serial
            continue
        if item <= load(team, POSITION):
            seen = serial
        elif kind == WHOLE:
            _help_chunk(w, cache, slots, tokens, s, team, item * layer, min(rows, (item + 1) * layer), serial, me)
        else:
            _item(w, cache, s, s.logits[me], kind, layer, item, rows, 0, me)
        store(team, DONE + item, serial << 8 | me)
        idle = 0


@kernel(counted=False)
def spin(team: Any, count: int) -> None:
    """Look `count` times at a word that does not change, to measure how long a look takes."""
    for _ in range(count):
        if load(team, TICKET) == -1:
            return
        pause()
