/*
 * The publish and subscribe demo: channels, messages, round trips, and the line
 * for a shell.
 */

import { PubSub } from '/js/index.js';
import {
    $, me, openWindow, Log, clone, hueOf, initial, plural, wanted, want,
} from './window.js';

const BACKEND_SERVICE = 'messaging_backend';
const BACKEND_KEY = 'swordfish';
const FIRST_CHANNEL = 'lobby';

const ROWS_KEPT = 300;
const TRIPS_KEPT = 60;
const MEASURED = 100;

let sent = 0;
let trips = [];             /* own round trips in ms, newest last */
const waiting = new Map();  /* number of an own message: when it was sent */

/* joined channels in the order in which they were joined */
const channels = new Map();

let measuring = false;

const log = new Log(ROWS_KEPT);


const snorky = openWindow({

    services: { messaging: PubSub },
    changed: showUsable,
    event: (text) => log.addEvent(text),
});

const { messaging } = snorky.services;


/* -------------------------------------------------------------- channels */

/* each connection joins it, until it is left */
async function join(name) {
    const { signal } = addChannel(name);

    try {
        for await (const message of messaging.channel(name, { signal })) {
            arrived(name, message);
        }

    } catch (error) {
        if (!signal.aborted) {
            removeChannel(name);
            $('join-error').textContent = `${error.message}.`;
            $('join-name').value ||= name;
        }
    }
}


function addChannel(name) {
    const item = clone('channel-template');
    const leaving = new AbortController();

    item.querySelector('.channel-name').textContent = name;
    item.querySelector('button').setAttribute('aria-label', `Leave ${name}`);
    item.querySelector('button').onclick = () => {
        leaving.abort();
        removeChannel(name);
        $('join-name').focus();
    };

    channels.set(name, {
        item, count: 0, counter: item.querySelector('.count'),
    });

    $('channels').append(item);
    channelsChanged(name);
    return leaving;
}


function removeChannel(name) {
    channels.get(name).item.remove();
    channels.delete(name);
    channelsChanged($('channel').value);
}


function channelsChanged(chosen) {
    const select = $('channel');

    select.replaceChildren(...[...channels.keys()].map(
        (name) => new Option(name, name, false, name === chosen)));

    $('no-channel').hidden = channels.size > 0;
    want([...channels.keys()]);
    $('another').href = location.href;

    showUsable();
    showCurl();
}


/* -------------------------------------------------------------- messages */

function publish(channel, text) {
    const n = ++sent;

    waiting.set(n, performance.now());

    return messaging.publish({
        channel,
        message: {
            text,
            name: $('name').value.trim() || me.name,
            from: me.id,
            worker: me.worker,
            n,
            sent: Date.now(),
        },
    }).finally(() => waiting.delete(n));
}


function arrived(name, message) {
    const now = performance.now();
    const wall = Date.now();
    const known = message !== null && typeof message === 'object'
                  && typeof message.text === 'string';
    const own = known && message.from === me.id;
    const joined = channels.get(name);

    joined.count += 1;
    joined.counter.textContent = joined.count.toLocaleString('en');

    let latency = '';
    let kind = '';

    if (own && waiting.has(message.n)) {
        const trip = now - waiting.get(message.n);

        addTrip(trip);
        latency = milliseconds(trip);
        kind = 'round trip';

    } else if (known && typeof message.sent === 'number') {
        latency = oneWay(wall - message.sent);
    }

    const item = clone('message-template');
    const part = (selector) => item.querySelector(selector);
    const sender = known && typeof message.name === 'string' ? message.name
                                                             : 'backend';

    part('.who').textContent = own ? `${sender} (you)` : sender;
    part('.where').textContent = name;
    part('.route').textContent = route(known ? message.worker : undefined);
    part('.kind').textContent = kind;
    part('.ms').textContent = latency;
    part('.body').textContent = known ? message.text
                                      : JSON.stringify(message);
    part('.body').classList.toggle('raw', !known);

    if (known && typeof message.from === 'string') {
        part('.face').textContent = initial(sender);
        item.style.setProperty('--hue', hueOf(message.from));
    } else {
        part('.face').textContent = '>_';
        item.classList.add('machine');
    }

    item.classList.toggle('own', own);
    item.title = new Date(wall).toLocaleTimeString();
    log.add(item);
}


function route(worker) {
    if (me.worker === null) {
        return '';
    }

    return Number.isInteger(worker) ? `worker ${worker} → ${me.worker}`
                                    : `→ worker ${me.worker}`;
}


/*
 * From the sender's clock to ours.  Two windows of one machine share a clock
 * of whole milliseconds; two machines may not agree at all.
 */
function oneWay(ms) {
    if (ms < -2 || ms > 3600000) {
        return 'clocks differ';
    }

    return ms < 1 ? '< 1 ms' : milliseconds(Math.round(ms));
}


function showUsable() {
    $('send').disabled = !snorky.isConnected || channels.size === 0;
    $('measure').disabled = !snorky.isConnected || measuring;
}


/* ----------------------------------------------------------- round trips */

function addTrip(trip) {
    trips.push(trip);
    if (trips.length > TRIPS_KEPT) {
        trips.shift();
    }

    showTrip(trip, 'From publishing to the message\'s arrival back in this '
                   + 'window.');
}


function showTrip(trip, note) {
    const [figure, unit] = milliseconds(trip).split(' ');

    $('trip').textContent = figure;
    $('trip-unit').textContent = unit;
    $('trip-note').textContent = note;
    drawSpark();
}


function drawSpark() {
    const spark = $('spark');
    const step = 240 / TRIPS_KEPT;

    /* one slow trip is cut off and marked, and does not flatten the rest */
    const sorted = [...trips].sort((a, b) => a - b);
    const top = 6 * Math.max(.1, sorted[sorted.length >> 1]);
    const most = Math.min(top, sorted.at(-1));

    const bars = trips.map((trip, n) => {
        const bar = document.createElementNS(spark.namespaceURI, 'rect');
        const height = Math.max(2, Math.min(1, trip / most) * 44);

        bar.classList.toggle('cut', trip > most);
        bar.setAttribute('x', n * step);
        bar.setAttribute('y', 44 - height);
        bar.setAttribute('width', step - 1);
        bar.setAttribute('height', height);
        return bar;
    });

    spark.replaceChildren(...bars);
    spark.setAttribute('aria-label',
        `The last ${plural(trips.length, 'round trip')}: from `
        + `${milliseconds(sorted[0])} to ${milliseconds(sorted.at(-1))}`);
}


/*
 * One message after the other, each published when the one before it has come
 * back, to a channel that only this window joins.
 */
async function measure() {
    const channel = messaging.channel({ measure: me.id });
    const back = channel[Symbol.asyncIterator]();
    const measured = [];

    measuring = true;
    showUsable();

    try {
        /* the first one joins the channel, too */
        for (let n = 0; n <= MEASURED; n++) {
            const came = back.next();
            const begin = performance.now();
            const answered = channel.publish(n);

            await Promise.race([came, answered.then(() => came)]);
            measured.push(performance.now() - begin);
            await answered;
        }

        measured.shift();
        trips = measured.slice(-TRIPS_KEPT);
        measured.sort((a, b) => a - b);
        showTrip(measured[Math.floor(MEASURED / 2)],
                 `Median of ${MEASURED}; 99 of them within `
                 + `${milliseconds(measured[MEASURED - 2])}.`);

    } catch (error) {
        $('trip-note').textContent = `Not measured: ${error.message}.`;
    }

    back.return();
    measuring = false;
    showUsable();
}


/* --------------------------------------------------------- the curl line */

function showCurl() {
    const body = JSON.stringify({
        service: BACKEND_SERVICE,
        message: {
            command: 'publish',
            params: {
                channel: $('channel').value || FIRST_CHANNEL,
                message: { text: 'hi' },
            },
            callId: 1,
        },
    });

    $('curl').value = `curl -H 'X-Backend-Key: ${BACKEND_KEY}' `
                      + `-d ${quote(body)} ${location.origin}/backend`;
}


async function copyCurl() {
    const field = $('curl');
    let copied = true;

    field.select();

    try {
        await navigator.clipboard.writeText(field.value);

    } catch {
        /* no clipboard for pages that are not from localhost or https */
        copied = document.execCommand('copy');
    }

    $('copy').textContent = copied ? 'Copied' : 'Press Ctrl+C';
    $('copied').textContent = copied ? 'Copied to the clipboard' : '';

    setTimeout(() => {
        $('copy').textContent = 'Copy';
        $('copied').textContent = '';
    }, 2000);
}


/* --------------------------------------------------------------- helpers */

function milliseconds(ms) {
    if (ms >= 1000) {
        return `${(ms / 1000).toFixed(1)} s`;
    }

    return Number.isInteger(ms) || ms >= 100 ? `${Math.round(ms)} ms`
                                             : `${ms.toFixed(1)} ms`;
}


/* a word for a shell */
function quote(text) {
    return `'${text.replaceAll('\'', '\'\\\'\'')}'`;
}


/*
 * After a key or a click a browser may hold back all other work, and so the
 * arrival of messages, until it has painted what changed.  What is timed waits
 * for that, or the round trip would be that of a frame.
 */
function painted() {
    return new Promise((resolve) => {
        requestAnimationFrame(() => setTimeout(resolve));
        setTimeout(resolve, 100);       /* a hidden page paints nothing */
    });
}


/* ----------------------------------------------------------------- start */

function bind() {
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
            await painted();
            await publish($('channel').value, text);

        } catch (error) {
            $('publish-error').textContent = `Not published: ${error.message}.`;
            $('text').value ||= text;
        }
    };

    $('join').onsubmit = (event) => {
        const field = $('join-name');
        const name = field.value.trim();
        const wrong = name === '' ? 'A name, please.'
                      : channels.has(name) ? 'Joined already.' : '';

        event.preventDefault();
        $('join-error').textContent = wrong;

        if (wrong === '') {
            field.value = '';
            join(name);
        }
    };

    $('channel').onchange = showCurl;
    $('copy').onclick = copyCurl;
    $('curl').onfocus = () => $('curl').select();
    $('measure').onclick = measure;
}


hueOf(me.id);       /* the first colour is one's own */
bind();
log.show($('messages'));

wanted(FIRST_CHANNEL).forEach(join);
