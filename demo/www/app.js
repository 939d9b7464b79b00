/*
 * The demo of an application behind nginx: calls that it answers, a channel
 * to which it lets only some publish, and what it knows of who is here.
 * demo/app/app.js is the application.
 */

import {
    $, openWindow, Log, clone, hueOf, identity, initial, nameOf, plural,
} from './window.js';
import { backOff } from './snorky.js';

const APP = 'app';
const NEWS = 'news';
const ADMIN = 'admin';
const CHANNELS = ['events', 'announcements', 'general'];

const ROWS_KEPT = 300;
const CALLS_KEPT = 30;
const EVENTS_KEPT = 100;

const log = new Log(ROWS_KEPT);
const calls = new Map();    /* rows of calls without an answer, by number */

let called = 0;
let answered = 0;

/*
 * Who is online, by client.  Events are numbered: "last" is the newest that is
 * known.  While the application is asked what there was before, those that
 * come are kept in "early".
 */
let online = new Map();
let last = 0;
let early = null;

let loads = 0;              /* the newest loading is the one that counts */
let failures = 0;
let timer = null;


const connection = openWindow({

    identified: true,
    event: (text) => log.addEvent(text),
    renamed: () => hueOf(identity()),

    async opened() {
        early = [];

        try {
            await Promise.all(CHANNELS.map((channel) =>
                connection.call(NEWS, 'subscribe', { channel })));
            load();

        } catch (error) {
            if (connection.open) {
                log.addEvent(`Not subscribed: ${error.message}`);
            }
        }
    },

    changed() {
        if (!connection.open) {
            loads += 1;
            clearTimeout(timer);
        }

        for (const id of ['send', 'whoami', 'slow']) {
            $(id).disabled = !connection.open;
        }

        $('add').querySelector('button').disabled = !connection.open;
        $('members').classList.toggle('stale', !connection.open);
    },

    notified(service, content) {
        if (service === APP) {
            showProgress(content);

        } else if (service === NEWS && content.type === 'message') {
            if (content.channel === 'events') {
                told(content.message);
            } else {
                addMessage(content);
            }
        }
    },
});


/* ------------------------------------------------------------------ calls */

async function ask(text, command, params) {
    const item = clone('call-template');
    const number = ++called;

    item.querySelector('code').textContent = text;
    $('calls').prepend(item);
    while ($('calls').children.length > CALLS_KEPT) {
        $('calls').lastElementChild.remove();
    }

    calls.set(number, item);
    showCount();

    try {
        const data = await connection.call(APP, command,
                                           { ...params, call: number });

        showResult(item, 'done', JSON.stringify(data));

    } catch (error) {
        showResult(item, 'failed', `${error.message}.`);
    }

    calls.delete(number);
    $('said').textContent = `${text}: `
        + item.querySelector('.result').textContent;
    showCount();
}


function showResult(item, state, text) {
    item.dataset.state = state;
    item.dataset.answered = ++answered;
    item.querySelector('progress').hidden = true;
    item.querySelector('.result').textContent = text;
}


/* what a slow call says of itself before its answer */
function showProgress({ type, call, step, of }) {
    const item = calls.get(call);

    if (type !== 'progress' || item === undefined) {
        return;
    }

    item.querySelector('progress').hidden = false;
    item.querySelector('progress').value = step / of;
    item.querySelector('.result').textContent = `step ${step} of ${of}`;
}


function showCount() {
    $('call-count').textContent = calls.size === 0 ? ''
                                                   : `${calls.size} waiting`;
}


/* ----------------------------------------------------------------- events */

/*
 * Each connection begins with this, and so does what follows an event that
 * was missed.  The channel has been joined before: nothing lies between.
 */
async function load() {
    const number = ++loads;

    clearTimeout(timer);
    early ??= [];

    try {
        const state = await connection.call(APP, 'online', {});

        if (number !== loads) {
            return;
        }

        const events = [...state.recent, ...early];

        early = null;
        failures = 0;
        last = state.n;
        online = new Map(Object.entries(state.online));
        $('loading').hidden = true;
        $('events').replaceChildren();
        state.recent.forEach(addEvent);
        events.slice(state.recent.length).forEach(told);
        showMembers();

    } catch (error) {
        if (number !== loads || !connection.open) {
            return;         /* the next connection loads */
        }

        $('loading').hidden = false;
        $('loading').textContent = `${error.message}; trying again`;
        timer = setTimeout(load, backOff(failures));
        failures += 1;
    }
}


function told(event) {
    if (early !== null) {
        early.push(event);
        return;
    }

    if (event.n <= last) {
        return;
    }

    if (event.n > last + 1) {
        early = [event];
        load();
        return;
    }

    last = event.n;
    addEvent(event);

    if (event.event === 'connected') {
        online.set(event.client, event);

    } else if (event.event === 'disconnected') {
        online.delete(event.client);

    } else if (event.event === 'lost') {
        online = new Map([...online].filter(
            ([, { worker }]) => worker !== event.worker));
    }

    showMembers();
}


function addEvent(event) {
    const item = clone('told-template');
    const what = [];

    if (event.client !== undefined) {
        what.push(whose(event));
    }

    if (event.channel !== undefined) {
        what.push(`${event.service} ${JSON.stringify(event.channel)}`);
    }

    if (event.count !== undefined) {
        what.push(plural(event.count, 'event'));
    }

    item.querySelector('b').textContent = event.event;
    item.querySelector('b').classList.add(event.event);
    item.querySelector('code').textContent = what.join(' · ');
    item.title = event.time ?? '';

    $('events').prepend(item);
    while ($('events').children.length > EVENTS_KEPT) {
        $('events').lastElementChild.remove();
    }

    $('event-count').textContent = plural(event.n, 'event');
}


/* pages without an identity are known by their connection only */
function whose({ client, identity: of }) {
    return of === null ? client : nameOf(of);
}


/* ---------------------------------------------------------------- members */

function showMembers() {
    const focused = document.activeElement?.dataset?.client;

    $('members').replaceChildren(...[...online.values()].map((member) => {
        const item = clone('member-template');
        const name = whose(member);
        const button = item.querySelector('button');

        item.style.setProperty('--hue', hueOf(member.identity ?? ''));
        item.querySelector('.face').textContent = initial(name);
        item.querySelector('.who').textContent = name;
        item.querySelector('.count').textContent =
            member.identity === null ? '' : member.client;
        button.setAttribute('aria-label', `Disconnect ${name}`);
        button.dataset.client = member.client;
        button.onclick = () => disconnect(member.client, name);
        return item;
    }));

    [...$('members').querySelectorAll('button')]
        .find((button) => button.dataset.client === focused)?.focus();

    $('member-count').textContent = plural(online.size, 'connection');
}


/* the button is there for all, to be seen refused */
async function disconnect(client, name) {
    $('member-error').textContent = '';

    try {
        await connection.call(APP, 'disconnect', { client });

    } catch (error) {
        if (connection.open) {
            $('member-error').textContent =
                `${name} stays: ${error.message}.`;
        }
    }
}


/* ------------------------------------------------------------------- news */

function addMessage({ channel, message }) {
    const item = clone('message-template');
    const part = (selector) => item.querySelector(selector);
    const { from, text } = Object(message);
    const name = nameOf(from);
    const time = new Date();

    item.classList.toggle('own', from === identity());
    item.style.setProperty('--hue', hueOf(from));
    part('.face').textContent = initial(name);
    part('.who').textContent = name;
    part('.where').textContent = channel;
    part('time').textContent = time.toLocaleTimeString();
    part('time').dateTime = time.toISOString();
    part('.body').textContent = typeof text === 'string'
                                ? text : JSON.stringify(message);
    log.add(item);
}


function bind() {
    $('add').onsubmit = (event) => {
        const [a, b] = [$('add-a').value, $('add-b').value];

        event.preventDefault();
        ask(`add ${a} + ${b}`, 'add', { a: Number(a), b: Number(b) });
    };

    $('whoami').onclick = () => ask('whoami', 'whoami', {});
    $('slow').onclick = () => ask('slow', 'slow', {});

    $('publish').onsubmit = async (event) => {
        const text = $('text').value;

        event.preventDefault();

        if (text.trim() === '') {
            $('text').focus();
            return;
        }

        $('publish-error').textContent = '';
        $('text').value = '';

        try {
            await connection.call(NEWS, 'publish', {
                channel: $('channel').value,
                message: { from: identity(), text },
            });

        } catch (error) {
            $('publish-error').textContent =
                `Not published: ${error.message}.`;
            $('text').value ||= text;
        }
    };
}


hueOf(identity());      /* the first colour is one's own */
bind();
log.show($('messages'));
