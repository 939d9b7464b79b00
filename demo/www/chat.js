/*
 * The chat demo: channels with who is in them, what is said, and what has been
 * read.  The server knows who a window is from its connection; of each message
 * it tells from whom it is, and when it came.
 */

import { Chat } from '/js/index.js';
import {
    $, me, openWindow, Log, clone, hueOf, identity, initial, nameOf, plural,
    want, wanted,
} from './window.js';

const FIRST_CHANNEL = 'lobby';
const ROWS_KEPT = 300;
const TITLE = document.title;

/*
 * By name, in the order in which they were joined:
 *
 *   { name, item, rows, members, early, unread }
 *
 * members are identities, as the server has them.  Until it has sent them, and
 * again with each connection, early collects who comes and goes meanwhile.
 */
const channels = new Map();

let shown = null;

const log = new Log(ROWS_KEPT);


const snorky = openWindow({

    services: { chat: Chat },
    identified: true,
    renamed: () => hueOf(identity()),
    event: (text) => channels.forEach(({ rows }) => log.addEvent(text, rows)),

    changed() {
        showUsable();
        showAnother();
    },
});

const { chat } = snorky.services;


/* a listener that is told of what happens in the channels that there are */
function told(code) {
    return (content) => {
        const channel = channels.get(content.channel);

        if (channel !== undefined) {
            code(channel, content);
        }
    };
}


/* -------------------------------------------------------------- channels */

/* joins, as soon as there is a connection, and with each one after it */
async function join(name) {
    const channel = addChannel(name);

    try {
        enter(channel, await chat.join({ channel: name }, { timeout: 0 }));

    } catch (error) {
        if (channels.get(name) === channel) {
            removeChannel(channel);
            $('join-error').textContent = `${error.message}.`;
            $('join-name').value ||= name;
        }
    }
}


/* and whoever came or went after the list of members was made */
function enter(channel, { members }) {
    const { early } = channel;

    channel.members = new Set(members);
    channel.early = null;
    early?.forEach((presence) => setPresent(channel, presence));
    showMembers();
}


function leave(channel) {
    removeChannel(channel);

    chat.leave({ channel: channel.name })
        .catch(() => { /* the connection is gone, and with it the channel */ });

    $('join-name').focus();
}


function addChannel(name) {
    const item = clone('channel-template');
    const [choose, quit] = item.querySelectorAll('button');
    const rows = document.createElement('ol');
    const channel = {
        name, item, rows, members: new Set(), early: [], unread: 0,
    };

    choose.textContent = name;
    choose.onclick = () => show(channel);
    quit.setAttribute('aria-label', `Leave ${name}`);
    quit.onclick = () => leave(channel);

    channels.set(name, channel);
    rows.hidden = true;
    $('log').append(rows);
    $('channels').append(item);
    channelsChanged();
    return channel;
}


function removeChannel(channel) {
    channel.item.remove();
    channel.rows.remove();
    channels.delete(channel.name);
    channelsChanged();

    if (channel === shown) {
        show(channels.values().next().value ?? null);
    }
}


function channelsChanged() {
    $('no-channel').hidden = channels.size > 0;
    want([...channels.keys()]);
    showAnother();
}


function show(channel) {
    shown = channel;

    for (const other of channels.values()) {
        const chosen = other === channel;

        other.rows.hidden = !chosen;
        other.item.classList.toggle('mine', chosen);
        other.item.querySelector('.channel-name')
            .setAttribute('aria-pressed', chosen);
    }

    $('shown').textContent = channel === null ? 'no channel' : channel.name;
    log.show(channel === null ? null : channel.rows);
    showMembers();
    showUsable();
    seen();
}


/* ------------------------------------------------- what the server tells */

function addMessage(channel, { from, body, timestamp }) {
    const item = clone('message-template');
    const part = (selector) => item.querySelector(selector);
    const own = from === identity();
    const name = nameOf(from);
    const time = new Date(timestamp);

    item.classList.toggle('own', own);
    item.style.setProperty('--hue', hueOf(from));
    part('.face').textContent = initial(name);
    part('.who').textContent = own ? `${name} (you)` : name;
    part('.body').textContent = typeof body === 'string'
                                ? body : JSON.stringify(body);
    part('time').textContent = time.toLocaleTimeString();
    part('time').dateTime = timestamp;
    part('time').title = time.toLocaleString();

    log.add(item, channel.rows);

    if (!own) {
        setUnread(channel, channel.unread + 1);
        seen();
    }
}


function setPresent(channel, { from, status }) {
    const present = status === 'joined';

    if (channel.members.has(from) === present) {
        return;
    }

    if (present) {
        channel.members.add(from);
    } else {
        channel.members.delete(from);
    }

    log.addEvent(`${nameOf(from)} ${status}`, channel.rows);
    showMembers();
}


/* ------------------------------------------------------------------ read */

/* what is on the screen before somebody's eyes has been read */
function seen() {
    if (shown === null || shown.unread === 0 || document.hidden
        || !document.hasFocus())
    {
        return;
    }

    setUnread(shown, 0);

    chat.read({ channel: shown.name })
        .catch(() => { /* the other windows will show it themselves */ });
}


function setUnread(channel, unread) {
    channel.unread = unread;
    channel.item.querySelector('.unread').hidden = unread === 0;
    channel.item.querySelector('.unread-count').textContent = unread;

    const all = [...channels.values()].reduce((n, c) => n + c.unread, 0);

    document.title = all === 0 ? TITLE : `(${all}) ${TITLE}`;
}


/* one line in each channel, behind what has been read elsewhere */
function addMark(channel, timestamp) {
    channel.rows.querySelector('.read')?.remove();
    log.addEvent('Read in another window', channel.rows, timestamp);
    channel.rows.lastElementChild.classList.add('read');
}


/* ------------------------------------------------------------------ view */

function showMembers() {
    const members = shown === null ? [] : [...shown.members];

    $('members').replaceChildren(...members.map((member) => {
        const item = clone('member-template');
        const name = nameOf(member);
        const own = member === identity();

        item.style.setProperty('--hue', hueOf(member));
        item.querySelector('.face').textContent = initial(name);
        item.querySelector('.who').textContent = own ? `${name} (you)` : name;
        return item;
    }));

    $('member-count').textContent = plural(members.length, 'member');
}


function showUsable() {
    $('send').disabled = !snorky.isConnected || shown === null;
    $('members').classList.toggle('stale', !snorky.isConnected);
}


function showAnother() {
    const query = new URLSearchParams(location.search);

    query.set('user', me.name);
    $('another').href = `?${query}${location.hash}`;
}


function bind() {
    $('say').onsubmit = async (event) => {
        const text = $('text').value;

        event.preventDefault();

        if (text.trim() === '' || shown === null) {
            $('text').focus();
            return;
        }

        $('say-error').textContent = '';
        $('text').value = '';

        try {
            await chat.send({ channel: shown.name, body: text });

        } catch (error) {
            $('say-error').textContent = `Not sent: ${error.message}.`;
            $('text').value ||= text;
        }
    };

    $('join').onsubmit = (event) => {
        const field = $('join-name');
        const name = field.value.trim();

        event.preventDefault();
        $('join-error').textContent = name === '' ? 'A name, please.' : '';

        if (name === '') {
            return;
        }

        if (!channels.has(name)) {
            join(name);
        }

        show(channels.get(name));
        field.value = '';
    };

    chat.messageReceived.add(told(addMessage));

    chat.presenceReceived.add(told((channel, presence) => {
        if (channel.early === null) {
            setPresent(channel, presence);
        } else {
            channel.early.push(presence);
        }
    }));

    /* another window of the same identity has shown the channel */
    chat.readReceived.add(told((channel, { timestamp }) => {
        setUnread(channel, 0);
        addMark(channel, timestamp);
    }));

    chat.resumed.add(({ params, data }) =>
        told((channel) => enter(channel, data))(params));

    chat.lost.add(({ params, error }) => told((channel) =>
        log.addEvent(`Not joined: ${error.message}`, channel.rows))(params));

    snorky.disconnected.add(() =>
        channels.forEach((channel) => { channel.early = []; }));

    addEventListener('focus', seen);
    document.addEventListener('visibilitychange', seen);
}


hueOf(identity());      /* the first colour is one's own */
bind();

wanted(FIRST_CHANNEL).forEach(join);
show(channels.values().next().value);
