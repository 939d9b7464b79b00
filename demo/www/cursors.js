/*
 * The cursors demo: a board with the pointers of all windows, and the marks
 * that they leave.  A position is a share of the board's width and height, so
 * that windows of any size agree about it.
 */

import { $, openWindow, clone, identity, initial, nameOf, plural, wanted }
    from './window.js';

const SERVICE = 'cursors';
const BOARD = wanted('board')[0];
const POINTER = 'pointer';
const STEP = .02;

/*
 * This window's cursors by the handle that it has chosen:
 *
 *   { handle, position, status, element, dirty }
 *
 * They outlive a connection: the next one gets them all again.
 */
const own = new Map();

/* those of other windows, by public handle: { cursor, element } */
const others = new Map();

/* what is told between "join" and its answer */
let early = null;

let joined = false;
let marks = 0;
let hue = 186;
let frame = null;
let underWay = false;
let lastPosition = { x: .5, y: .5 };

const rate = { out: 0, in: 0 };


const connection = openWindow({

    identified: true,

    opened() {
        enter().catch((error) => {
            if (connection.open) {
                complain(`Not joined: ${error.message}.`);
            }
        });
    },

    changed() {
        joined = joined && connection.open;
        $('board').classList.toggle('stale', !connection.open);
    },

    renamed: showMembers,

    notified(service, content) {
        if (service !== SERVICE) {
            return;
        }

        rate.in += 1;

        if (early !== null) {
            early.push(content);
        } else {
            told(content);
        }
    },
});


/* ------------------------------------------------- what the server tells */

async function enter() {
    const late = early = [];
    const { cursors } = await connection.call(SERVICE, 'join',
                                              { document: BOARD });

    for (const handle of others.keys()) {
        removeOther(handle);
    }

    cursors.forEach(setOther);

    /* whatever happened after the list of cursors was made */
    early = null;
    late.forEach(told);

    joined = true;
    complain('');
    own.forEach(create);
    showMembers();
}


function told({ type, cursor }) {
    switch (type) {

    case 'cursorAdded':
        setOther(cursor);
        showMembers();
        say(cursor, 'left a mark');
        break;

    case 'cursorUpdated':
        setOther(cursor);
        break;

    case 'cursorRemoved':
        say(others.get(cursor.publicHandle)?.cursor, 'took a mark away');
        removeOther(cursor.publicHandle);
        showMembers();
        break;
    }
}


function setOther(cursor) {
    const handle = cursor.publicHandle;
    const known = others.get(handle);
    const element = known?.element ?? draw(cursor.status);

    others.set(handle, { cursor, element });
    element.querySelector('.cursor-name').textContent = nameOf(cursor.owner);
    place(element, cursor);
}


function removeOther(handle) {
    others.get(handle)?.element.remove();
    others.delete(handle);
}


/* ------------------------------------------------------------ own cursors */

function add(handle, position) {
    const status = { kind: handle === POINTER ? POINTER : 'mark', hue };
    const cursor = { handle, position, status, dirty: false };

    cursor.element = draw(status);
    cursor.element.classList.add('own');
    own.set(handle, cursor);
    place(cursor.element, cursor);

    if (joined) {
        create(cursor);
    }

    showMembers();
    return cursor;
}


function create(cursor) {
    const { handle, position, status } = cursor;

    cursor.dirty = false;

    connection.call(SERVICE, 'createCursor', {
        privateHandle: handle, document: BOARD, position, status,
    }).catch((error) => {
        /* without a connection it waits for the next one */
        if (connection.open && own.get(handle) === cursor) {
            erase(handle);
            complain(`Not left: ${error.message}.`);
        }
    });
}


function remove(handle) {
    if (!own.has(handle)) {
        return;
    }

    erase(handle);

    if (joined) {
        connection.call(SERVICE, 'removeCursor', { privateHandle: handle })
            .catch(() => { /* it ended with the connection */ });
    }
}


function erase(handle) {
    own.get(handle).element.remove();
    own.delete(handle);
    showMembers();
}


function change(cursor, part) {
    Object.assign(cursor, part, { dirty: true });
    place(cursor.element, cursor);
    schedule();
}


/*
 * A pointer may move a thousand times in a second.  What counts is where it
 * is when the screen is painted anew, and only once the server has answered
 * to what it was told before: so a slow connection has fewer updates, not a
 * longer queue.
 */
function schedule() {
    if (frame === null && !underWay && joined) {
        frame = requestAnimationFrame(flush);
    }
}


async function flush() {
    const changed = [...own.values()].filter((cursor) => cursor.dirty);

    frame = null;
    underWay = true;

    try {
        await Promise.all(changed.map(update));
    } catch {
        /* no such cursor any more, or no connection */
    }

    underWay = false;

    if ([...own.values()].some((cursor) => cursor.dirty)) {
        schedule();
    }
}


function update(cursor) {
    const { handle, position, status } = cursor;

    cursor.dirty = false;
    rate.out += 1;

    return connection.call(SERVICE, 'updateCursor', {
        privateHandle: handle, newData: { position, status },
    });
}


function movePointer(position) {
    const pointer = own.get(POINTER);

    lastPosition = position;

    if (pointer === undefined) {
        add(POINTER, position);
    } else {
        change(pointer, { position });
    }
}


function leaveMark(position) {
    complain('');
    add(`mark ${++marks}`, position);
}


function ownMarks() {
    return [...own.keys()].filter((handle) => handle !== POINTER);
}


/* ------------------------------------------------------------------ view */

function draw(status) {
    const element = clone(status?.kind === 'mark' ? 'mark-template'
                                                  : 'cursor-template');

    $('board').append(element);
    return element;
}


function place(element, { position, status }) {
    const { x, y } = position ?? {};

    /* anything may come from another client */
    element.hidden = !Number.isFinite(x) || !Number.isFinite(y);
    element.style.left = `${100 * within(x)}%`;
    element.style.top = `${100 * within(y)}%`;
    element.style.setProperty('--hue', hueIn(status));
}


function within(share) {
    return Math.max(0, Math.min(1, Number(share) || 0));
}


function hueIn(status) {
    return Number.isFinite(status?.hue) ? status.hue : 186;
}


/* who has what on the board */
function showMembers() {
    const members = new Map();
    const all = [
        ...[...own.values()].map(({ status }) =>
            ({ owner: identity(), status })),
        ...[...others.values()].map(({ cursor }) => cursor),
    ];

    for (const { owner, status } of all) {
        const member = members.get(owner) ?? { pointers: 0, marks: 0 };

        member[status?.kind === 'mark' ? 'marks' : 'pointers'] += 1;
        member.hue = hueIn(status);
        members.set(owner, member);
    }

    $('members').replaceChildren(...[...members].map(([owner, member]) => {
        const item = clone('member-template');
        const name = nameOf(owner);

        item.style.setProperty('--hue', member.hue);
        item.querySelector('.face').textContent = initial(name);
        item.querySelector('.who').textContent =
            owner === identity() ? `${name} (you)` : name;
        item.querySelector('.count').textContent = [
            member.pointers && plural(member.pointers, 'pointer'),
            member.marks && plural(member.marks, 'mark'),
        ].filter(Boolean).join(', ');
        return item;
    }));

    $('member-count').textContent = plural(all.length, 'cursor');
    $('nobody').hidden = others.size > 0;
    $('empty').hidden = all.length > 0;
    $('sweep').disabled = ownMarks().length === 0;
}


/* pointers come and go all the time; marks are worth a word */
function say(cursor, what) {
    if (cursor?.status?.kind === 'mark') {
        $('said').textContent = `${nameOf(cursor.owner)} ${what}`;
    }
}


function complain(text) {
    $('board-error').textContent = text;
}


/* ----------------------------------------------------------------- start */

function positionOf(event) {
    const { left, top, width, height } = $('board').getBoundingClientRect();
    const share = (at, all) =>
        Math.round(10000 * within(at / all)) / 10000;

    return {
        x: share(event.clientX - left, width),
        y: share(event.clientY - top, height),
    };
}


function pressed(event) {
    const { x, y } = lastPosition;
    const step = {
        ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0],
        ArrowUp: [0, -STEP], ArrowDown: [0, STEP],
    }[event.key];

    if (step !== undefined) {
        movePointer({ x: within(x + step[0]), y: within(y + step[1]) });

    } else if (event.key === 'Enter' || event.key === ' ') {
        leaveMark(lastPosition);

    } else if (event.key === 'Delete' || event.key === 'Backspace') {
        remove(ownMarks().at(-1));

    } else {
        return;
    }

    event.preventDefault();
}


/*
 * Cursors let the mouse through to the board, marks too: were one of them
 * under the pointer as it is taken away, some browsers would not tell the
 * board when the pointer leaves.
 */
function clicked(event) {
    const { clientX, clientY } = event;
    const mark = [...own.values()].find(({ handle, element }) => {
        const { left, right, top, bottom } =
            element.firstElementChild.getBoundingClientRect();

        return handle !== POINTER && clientX >= left && clientX <= right
               && clientY >= top && clientY <= bottom;
    });

    if (mark !== undefined) {
        remove(mark.handle);
    } else {
        leaveMark(positionOf(event));
    }
}


function bind() {
    const board = $('board');

    board.onpointermove = (event) => movePointer(positionOf(event));
    board.onpointerleave = () => remove(POINTER);
    board.onblur = () => remove(POINTER);
    board.onclick = clicked;
    board.onkeydown = pressed;

    $('sweep').onclick = () => ownMarks().forEach(remove);

    $('colours').onchange = (event) => {
        hue = Number(event.target.value);
        own.forEach((cursor) =>
            change(cursor, { status: { ...cursor.status, hue } }));
        showMembers();
    };

    for (const input of $('colours').querySelectorAll('input')) {
        input.parentElement.style.setProperty('--hue', input.value);
    }

    setInterval(() => {
        $('rate-out').textContent = rate.out;
        $('rate-in').textContent = rate.in;
        rate.out = rate.in = 0;
    }, 1000);
}


bind();
showMembers();
