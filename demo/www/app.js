/*
 * The demo of an application behind nginx: calls that it answers, a channel
 * to which it lets only some publish, and what it knows of who is here.
 * demo/app/app.js is the application.
 */

import { PubSub, RPCService } from '/js/index.js';
import {
    $, openWindow, Log, clone, hueOf, identity, initial, nameOf, plural,
} from './window.js';

const ADMIN = 'admin';
const CHANNELS = ['events', 'announcements', 'general'];

const ROWS_KEPT = 300;
const CALLS_KEPT = 30;
const EVENTS_KEPT = 100;
const RETRY = 1000;

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
let early = [];

let loads = 0;              /* the newest loading is the one that counts */
let timer = null;


/* what demo/app/app.js answers */
class App extends RPCService {
}

App.addRPCMethods(['add', 'whoami', 'slow', 'online', 'disconnect']);


const snorky = openWindow({

    services: { app: App, news: PubSub },
    identified: true,
    event: (text) => log.addEvent(text),
    renamed: () => hueOf(identity()),

    changed() {
        const { isConnected } = snorky;

        for (const id of ['send', 'whoami', 'slow']) {
            $(id).disabled = !isConnected;
        }

        $('add').querySelector('button').disabled = !isConnected;
        $('members').classList.toggle('stale', !isConnected);
    },
});

const { app, news } = snorky.services;


/* each connection joins them anew, and loads what was missed meanwhile */
async function join() {
    snorky.disconnected.add(() => {
        loads += 1;
        early = [];
        clearTimeout(timer);
    });

    news.messagePublished.add(({ channel, message }) => {
        if (channel === 'events') {
            told(message);
        } else {
            addMessage(channel, message);
        }
    });

    const complain = ({ message }) =>
        log.addEvent(`Not subscribed: ${message}`);

    snorky.resumed.add(load);
    news.lost.add(({ error }) => complain(error));

    try {
        await Promise.all(CHANNELS.map((channel) =>
            news.subscribe({ channel }, { timeout: 0 })));
        load();

    } catch (error) {
        complain(error);
    }
}


/* ------------------------------------------------------------------ calls */

async function ask(text, command, params = {}) {
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
        const data = await app[command]({ ...params, call: number });

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
        const state = await app.online();

        if (number !== loads) {
            return;
        }

        const events = [...state.recent, ...early];

        early = null;
        last = state.n;
        online = new Map(Object.entries(state.online));
        $('loading').hidden = true;
        $('events').replaceChildren();
        state.recent.forEach(addEvent);
        events.slice(state.recent.length).forEach(told);
        showMembers();

    } catch (error) {
        if (number !== loads) {
            return;         /* the next connection loads */
        }

        $('loading').hidden = false;
        $('loading').textContent = `${error.message}; trying again`;
        timer = setTimeout(load, RETRY * (1 + Math.random()));
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
        await app.disconnect({ client });

    } catch (error) {
        if (error.code === 'rpc') {
            $('member-error').textContent =
                `${name} stays: ${error.message}.`;
        }
    }
}


/* ------------------------------------------------------------------- news */

function addMessage(channel, message) {
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
    app.notificationReceived.add(showProgress);

    $('add').onsubmit = (event) => {
        const [a, b] = [$('add-a').value, $('add-b').value];

        event.preventDefault();
        ask(`add ${a} + ${b}`, 'add', { a: Number(a), b: Number(b) });
    };

    $('whoami').onclick = () => ask('whoami', 'whoami');
    $('slow').onclick = () => ask('slow', 'slow');

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
            await news.publish({
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
join();
log.show($('messages'));
