/*
 * The cursors demo: a board with the pointers of all windows, and the marks
 * that they leave.  A position is a share of the board's width and height, so
 * that windows of any size agree about it.
 */

import { Cursors } from '/js/index.js';
import { $, openWindow, clone, identity, initial, nameOf, plural, wanted }
    from './window.js';

const BOARD = wanted('board')[0];
const POINTER = 'pointer';
const STEP = .02;

/*
 * This window's cursors by a name that it has for them:
 *
 *   { cursor, position, status, element, dirty }
 *
 * cursor is the client's, once the board is joined.
 */
const own = new Map();

/* those of other windows, by public handle: { cursor, element } */
const others = new Map();

let marks = 0;
let hue = 186;
let frame = null;
let underWay = false;
let lastPosition = { x: .5, y: .5 };

const rate = { out: 0, in: 0 };


const snorky = openWindow({

    services: { cursors: Cursors },
    identified: true,
    renamed: showMembers,

    changed() {
        $('board').classList.toggle('stale', !snorky.isConnected);
        schedule();
    },
});

const { cursors } = snorky.services;

/* is joined by each connection again, and has all cursors then */
let sheet = null;


/* ------------------------------------------------- what the server tells */

async function join() {
    cursors.lost.add(({ error }) => complain(`Lost: ${error.message}.`));

    try {
        sheet = await cursors.join({ document: BOARD }, { timeout: 0 });

    } catch (error) {
        complain(`Not joined: ${error.message}.`);
        return;
    }

    sheet.cursors.forEach(setOther);
    own.forEach(create);

    sheet.cursorAdded.add((cursor) => {
        setOther(cursor);
        showMembers();
        say(cursor, 'left a mark');
    });

    sheet.cursorUpdated.add(setOther);

    sheet.cursorRemoved.add(({ publicHandle }) => {
        const { cursor, element } = others.get(publicHandle);

        say(cursor, 'took a mark away');
        element.remove();
        others.delete(publicHandle);
        showMembers();
    });

    showMembers();
}


function setOther(cursor) {
    const handle = cursor.publicHandle;
    const element = others.get(handle)?.element ?? draw(cursor.status);

    others.set(handle, { cursor, element });
    element.querySelector('.cursor-name').textContent = nameOf(cursor.owner);
    place(element, cursor);
}


/* ------------------------------------------------------------ own cursors */

function add(name, position) {
    const status = { kind: name === POINTER ? POINTER : 'mark', hue };
    const added = { cursor: null, position, status, element: draw(status),
                    dirty: false };

    added.element.classList.add('own');
    place(added.element, added);
    own.set(name, added);

    if (sheet !== null) {
        create(added, name);
    }

    showMembers();
}


function create(added, name) {
    const { position, status } = added;
    const [cursor, created] = sheet.createCursor({ position, status },
                                                 { timeout: 0 });

    added.cursor = cursor;

    created.catch((error) => {
        if (own.get(name) === added) {
            erase(name);
            complain(`Not left: ${error.message}.`);
        }
    });
}


function remove(name) {
    if (own.has(name)) {
        own.get(name).cursor?.remove()
            .catch(() => { /* there was none: it was refused */ });
        erase(name);
    }
}


function erase(name) {
    own.get(name).element.remove();
    own.delete(name);
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
    if (frame === null && !underWay && sheet !== null
        && snorky.isConnected)
    {
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
        /* no such cursor any more */
    }

    underWay = false;

    if ([...own.values()].some((cursor) => cursor.dirty)) {
        schedule();
    }
}


function update(changed) {
    const { cursor, position, status } = changed;

    changed.dirty = false;
    rate.out += 1;

    return cursor.update({ position, status });
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
    return [...own.keys()].filter((name) => name !== POINTER);
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
        ...own.values(),
        ...[...others.values()].map(({ cursor }) => cursor),
    ];

    for (const { owner = identity(), status } of all) {
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
    const mark = ownMarks().find((name) => {
        const { left, right, top, bottom } = own.get(name).element
            .firstElementChild.getBoundingClientRect();

        return clientX >= left && clientX <= right
               && clientY >= top && clientY <= bottom;
    });

    if (mark !== undefined) {
        remove(mark);
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

    cursors.notificationReceived.add(() => { rate.in += 1; });

    setInterval(() => {
        $('rate-out').textContent = rate.out;
        $('rate-in').textContent = rate.in;
        rate.out = rate.in = 0;
    }, 1000);
}


bind();
showMembers();
join();
