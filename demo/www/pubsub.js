/*
 * The publish and subscribe demo: the connection to nginx (Connection), what
 * the page makes of it (view), and small helpers.  Text that came from
 * elsewhere only ever becomes textContent, never markup.
 */

const SERVICE = 'messaging';
const BACKEND_SERVICE = 'messaging_backend';
const BACKEND_KEY = 'swordfish';
const FIRST_CHANNEL = 'lobby';

const ROWS_KEPT = 300;
const TRIPS_KEPT = 60;
const SENDERS_KEPT = 1000;
const MEASURED = 100;
const OWN_HUE = 186;
const STATUS_EVERY = 2000;

/* a worker past these is not offered, and so stays unknown to the page */
const WORKERS_OFFERED = 64;

const CLOSE_TEXTS = {
    1000: 'closed',
    1001: 'the server stopped',
    1002: 'protocol error',
    1006: 'the connection was lost',
    1007: 'text was not UTF-8',
    1009: 'the message was too large',
    1011: 'a ping was not answered',
    1012: 'the server restarts',
    1013: 'this window was too slow',
};

const SEA = [
    'Otter', 'Puffin', 'Urchin', 'Manta', 'Nautilus', 'Limpet', 'Squid',
    'Heron', 'Cuttle', 'Seal', 'Coral', 'Tern', 'Wrasse', 'Anemone',
];


/* ------------------------------------------------------------ Connection */

/*
 * Keeps one WebSocket open and speaks the RPC of Snorky over it.  Tells of
 * what happens through three functions of its owner:
 *
 *   onstate(state, detail)      "connecting", "open" or "waiting"; the latter
 *                               with { code, wait, wasOpen }
 *   onopen(worker)              after each connect; worker may be null
 *   onnotify(service, content)  a message that answers no call
 */
class Connection {

    constructor(url, owner) {
        this.url = url;
        this.owner = owner;
        this.calls = new Map();
        this.callId = 0;
        this.failures = 0;
        this.opened = false;
        this.socket = null;
        this.timer = null;
    }

    get open() {
        return this.socket !== null
               && this.socket.readyState === WebSocket.OPEN;
    }

    connect() {
        clearTimeout(this.timer);
        this.owner.onstate('connecting');

        const offers = Array.from({ length: WORKERS_OFFERED },
                                  (_, n) => `worker.${n}`);
        const socket = new WebSocket(this.url, offers);

        this.socket = socket;
        this.timer = setTimeout(() => this.drop(), 10000);

        socket.onopen = () => {
            clearTimeout(this.timer);
            this.failures = 0;
            this.opened = true;
            this.owner.onstate('open');
            this.owner.onopen(workerOf(socket.protocol));
        };

        socket.onmessage = (event) => this.receive(event.data);

        socket.onclose = (event) => {
            if (socket === this.socket) {
                this.closed(event.code);
            }
        };
    }

    /* gives the socket up and goes on as if it had been lost */
    drop() {
        const socket = this.socket;

        if (socket === null) {
            return;
        }

        this.socket = null;
        socket.onopen = socket.onmessage = socket.onclose = null;
        socket.close();
        this.closed(1006);
    }

    /* another connection at once, asked for by the user */
    reconnect() {
        const socket = this.socket;

        if (socket !== null) {
            this.socket = null;
            socket.onopen = socket.onmessage = socket.onclose = null;
            socket.close(1000);
            this.fail(new Error('Connection closed'));
        }

        this.connect();
    }

    /* does not wait any longer, if it was waiting */
    hurry() {
        if (this.socket === null) {
            this.connect();
        }
    }

    closed(code) {
        this.socket = null;
        clearTimeout(this.timer);
        this.fail(new Error('Connection closed'));

        const wasOpen = this.opened;

        this.opened = false;

        /*
         * 1012: nginx was reloaded and asks us to come back; it has spread
         * these closes over time itself, so there is no reason to wait.
         */
        const wait = (code === 1012 && wasOpen) ? 0 : backOff(this.failures);

        this.failures += 1;
        this.owner.onstate('waiting', { code, wait, wasOpen });
        this.timer = setTimeout(() => this.connect(), wait);
    }

    fail(error) {
        const calls = [...this.calls.values()];

        this.calls.clear();
        for (const call of calls) {
            call.reject(error);
        }
    }

    call(service, command, params) {
        if (!this.open) {
            return Promise.reject(new Error('Not connected'));
        }

        return new Promise((resolve, reject) => {
            const callId = ++this.callId;

            this.calls.set(callId, { resolve, reject });
            this.socket.send(JSON.stringify({
                service, message: { command, params, callId },
            }));
        });
    }

    receive(data) {
        const { service, message } = JSON.parse(data);

        if (message.type !== 'response' && message.type !== 'error') {
            this.owner.onnotify(service, message);
            return;
        }

        const call = this.calls.get(message.callId);

        if (call === undefined) {
            return;
        }

        this.calls.delete(message.callId);

        if (message.type === 'response') {
            call.resolve(message.data);
        } else {
            call.reject(new Error(message.message));
        }
    }
}


/* a quarter of a second, then twice as long each time, up to 10 s */
function backOff(failures) {
    const most = Math.min(10000, 250 * 2 ** failures);

    return most / 2 + Math.random() * most / 2;
}


/* the worker's number comes as the subprotocol, see demo/nginx.conf */
function workerOf(protocol) {
    const found = /^worker\.([0-9]+)$/.exec(protocol);

    return found === null ? null : Number(found[1]);
}


/* ------------------------------------------------------------------ view */

const $ = (id) => document.getElementById(id);

const me = {
    id: randomId(),
    worker: null,
    sent: 0,
    trips: [],              /* own round trips in ms, newest last */
    waiting: new Map(),     /* number of an own message: when it was sent */
};

const hues = new Map([[me.id, OWN_HUE]]);

/* joined channels in the order in which they were joined */
const channels = new Map();

/* takes the messages of a measurement, while one runs */
let measuring = null;

/* the log is scrolled to its end, and is to stay there */
let following = true;


const connection = new Connection(
    `${location.protocol.replace('http', 'ws')}//${location.host}/ws`, {

    onstate: showState,

    onopen(worker) {
        me.worker = worker;
        showWorker();
        addEvent(worker === null ? 'Connected'
                                 : `Connected to worker ${worker}`);

        for (const name of channels.keys()) {
            subscribe(name).then((wrong) => {
                if (wrong !== null && connection.open) {
                    addEvent(`Not joined to ${name}: ${wrong}`);
                }
            });
        }

        refreshStatus();
    },

    onnotify(service, content) {
        if (service !== SERVICE || content.type !== 'message') {
            return;
        }

        if (measuring !== null && content.channel?.measure === me.id) {
            measuring(content.message);
            return;
        }

        arrived(content.channel, content.message);
    },
});


/* --- channels */

async function subscribe(name) {
    try {
        await connection.call(SERVICE, 'subscribe', { channel: name });
        return null;

    } catch (error) {
        return error.message;
    }
}


async function join(name) {
    if (channels.has(name)) {
        return 'Joined already';
    }

    /* without a connection it is joined as soon as there is one */
    const wrong = connection.open ? await subscribe(name) : null;

    if (wrong !== null && connection.open) {
        return wrong;
    }

    addChannel(name);
    return null;
}


function addChannel(name) {
    const item = clone('channel-template');
    const channel = { item, count: 0, counter: item.querySelector('.count') };

    item.querySelector('.channel-name').textContent = name;
    item.querySelector('button').setAttribute('aria-label', `Leave ${name}`);
    item.querySelector('button').onclick = () => leave(name);

    channels.set(name, channel);
    $('channels').append(item);
    channelsChanged(name);
}


function leave(name) {
    channels.get(name).item.remove();
    channels.delete(name);

    connection.call(SERVICE, 'unsubscribe', { channel: name })
        .catch(() => { /* the connection is gone, and with it the channel */ });

    channelsChanged($('channel').value);
    $('join-name').focus();
}


function channelsChanged(chosen) {
    const select = $('channel');

    select.replaceChildren(...[...channels.keys()].map(
        (name) => new Option(name, name, false, name === chosen)));

    $('no-channel').hidden = channels.size > 0;
    history.replaceState(null, '',
        '#' + [...channels.keys()].map(encodeURIComponent).join(','));
    $('another').href = location.href;

    showUsable();
    showCurl();
}


/* --- messages */

function publish(channel, text) {
    const n = ++me.sent;

    me.waiting.set(n, performance.now());

    return connection.call(SERVICE, 'publish', {
        channel,
        message: {
            text,
            name: $('name').value.trim() || me.name,
            from: me.id,
            worker: me.worker,
            n,
            sent: Date.now(),
        },
    }).finally(() => me.waiting.delete(n));
}


function arrived(channel, message) {
    const now = performance.now();
    const wall = Date.now();
    const known = message !== null && typeof message === 'object'
                  && typeof message.text === 'string';
    const own = known && message.from === me.id;
    const name = typeof channel === 'string' ? channel
                                             : JSON.stringify(channel);
    const joined = channels.get(name);

    if (joined !== undefined) {
        joined.count += 1;
        joined.counter.textContent = joined.count.toLocaleString('en');
    }

    let latency = '';
    let kind = '';

    if (own && me.waiting.has(message.n)) {
        const trip = now - me.waiting.get(message.n);

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
        part('.face').textContent = [...sender.trim()][0] ?? '?';
        item.style.setProperty('--hue', hueOf(message.from));
    } else {
        part('.face').textContent = '>_';
        item.classList.add('machine');
    }

    item.classList.toggle('own', own);
    item.title = new Date(wall).toLocaleTimeString();
    addRow(item);
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


function addEvent(text) {
    const item = clone('event-template');
    const now = new Date();

    item.querySelector('.body').textContent = text;
    item.querySelector('time').textContent = now.toLocaleTimeString();
    item.querySelector('time').dateTime = now.toISOString();
    addRow(item);
}


function addRow(item) {
    const list = $('messages');

    list.append(item);
    while (list.children.length > ROWS_KEPT) {
        list.firstElementChild.remove();
    }

    showEmpty();

    if (following) {
        scrollToEnd();
    } else if (item.classList.contains('message')) {
        $('newer').hidden = false;
    }
}


function scrollToEnd() {
    $('log').scrollTop = $('log').scrollHeight;
}


function showEmpty() {
    $('empty').hidden = $('messages').querySelector('.message') !== null;
}


/* --- state, worker, status */

let countdown = null;

function showState(state, detail) {
    clearInterval(countdown);
    $('state').dataset.state = state;

    if (state === 'waiting') {
        const why = CLOSE_TEXTS[detail.code] ?? `close code ${detail.code}`;

        if (detail.wasOpen) {
            addEvent(`Disconnected: ${why} (${detail.code})`);
        }

        me.worker = null;
        showWorker();
        count(Date.now() + detail.wait);

    } else {
        $('state-text').textContent = state === 'open' ? 'Connected'
                                                       : 'Connecting';
    }

    showUsable();
}


function count(until) {
    const show = () => {
        const left = Math.ceil((until - Date.now()) / 1000);

        $('state-text').textContent = left > 1 ? `Trying again in ${left} s`
                                               : 'Reconnecting';
    };

    show();
    countdown = setInterval(show, 500);
}


function showUsable() {
    $('send').disabled = !connection?.open || channels.size === 0;
    $('measure').disabled = !connection?.open || measuring !== null;
}


function showWorker() {
    $('worker').textContent = me.worker === null ? 'no worker yet'
                                                 : `Worker ${me.worker}`;
    $('worker').classList.toggle('none', me.worker === null);
}


async function refreshStatus() {
    let status;

    if (document.hidden) {
        return;
    }

    try {
        const answer = await fetch('/status', { cache: 'no-store' });

        status = await answer.json();

    } catch {
        $('workers').hidden = true;
        return;
    }

    const tiles = status.workers
        .filter((worker) => worker.state === 'live')
        .map((worker) => {
            const item = document.createElement('li');
            const number = document.createElement('b');
            const windows = worker.sessions_websocket;
            const mine = worker.slot === me.worker;

            number.textContent = worker.slot;
            item.append(number,
                        worker.quitting ? 'leaving'
                                        : plural(windows, 'window'));
            item.classList.toggle('mine', mine);
            item.title = `Worker ${worker.slot}, process ${worker.pid}`
                         + (mine ? ', serves this window' : '');
            return item;
        });

    $('workers').replaceChildren(...tiles);
    $('workers').hidden = tiles.length < 2;
}


/* --- round trips */

function addTrip(trip) {
    me.trips.push(trip);
    if (me.trips.length > TRIPS_KEPT) {
        me.trips.shift();
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
    const sorted = [...me.trips].sort((a, b) => a - b);
    const top = 6 * Math.max(.1, sorted[sorted.length >> 1]);
    const most = Math.min(top, sorted.at(-1));

    const bars = me.trips.map((trip, n) => {
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
        `The last ${plural(me.trips.length, 'round trip')}: from `
        + `${milliseconds(sorted[0])} to ${milliseconds(sorted.at(-1))}`);
}


/*
 * One message after the other, each published when the one before it has come
 * back, to a channel that only this window joins.
 */
async function measure() {
    const channel = { measure: me.id };
    const trips = [];
    let back = null;

    measuring = () => back();
    showUsable();

    try {
        await connection.call(SERVICE, 'subscribe', { channel });

        for (let n = 0; n < MEASURED; n++) {
            const came = new Promise((resolve) => { back = resolve; });
            const begin = performance.now();
            const answered = connection.call(SERVICE, 'publish',
                                             { channel, message: n });

            await Promise.race([came, answered.then(() => came)]);
            trips.push(performance.now() - begin);
            await answered;
        }

        await connection.call(SERVICE, 'unsubscribe', { channel });

        me.trips = trips.slice(-TRIPS_KEPT);
        trips.sort((a, b) => a - b);
        showTrip(trips[Math.floor(MEASURED / 2)],
                 `Median of ${MEASURED}; 99 of them within `
                 + `${milliseconds(trips[MEASURED - 2])}.`);

    } catch (error) {
        $('trip-note').textContent = `Not measured: ${error.message}.`;
    }

    measuring = null;
    showUsable();
}


/* --- the curl line */

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

function clone(template) {
    return $(template).content.firstElementChild.cloneNode(true);
}


function randomId() {
    return [...crypto.getRandomValues(new Uint8Array(8))]
        .map((byte) => byte.toString(16).padStart(2, '0')).join('');
}


/*
 * A colour for each sender, in the order in which they are met: steps of the
 * golden angle stay apart, however many there are.
 */
function hueOf(id) {
    if (!hues.has(id) && hues.size < SENDERS_KEPT) {
        hues.set(id, Math.round(OWN_HUE + 137.5 * hues.size) % 360);
    }

    return hues.get(id) ?? OWN_HUE;
}


function milliseconds(ms) {
    if (ms >= 1000) {
        return `${(ms / 1000).toFixed(1)} s`;
    }

    return Number.isInteger(ms) || ms >= 100 ? `${Math.round(ms)} ms`
                                             : `${ms.toFixed(1)} ms`;
}


function plural(n, noun) {
    return `${n} ${noun}${n === 1 ? '' : 's'}`;
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

function remembered() {
    try {
        return sessionStorage.getItem('name');
    } catch {
        return null;
    }
}


function remember(name) {
    try {
        sessionStorage.setItem('name', name);
    } catch {
        /* the name lasts as long as the page, then */
    }
}


function wanted() {
    const names = location.hash.slice(1).split(',')
        .filter((name) => name !== '')
        .map((name) => {
            try {
                return decodeURIComponent(name);
            } catch {
                return name;
            }
        });

    return names.length > 0 ? new Set(names) : [FIRST_CHANNEL];
}


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

    $('join').onsubmit = async (event) => {
        const field = $('join-name');
        const name = field.value.trim();

        event.preventDefault();

        const wrong = name === '' ? 'A name, please' : await join(name);

        $('join-error').textContent = wrong === null ? '' : `${wrong}.`;

        if (wrong === null) {
            field.value = '';
        }
    };

    $('log').onscroll = () => {
        const log = $('log');

        following = log.scrollHeight - log.scrollTop - log.clientHeight < 40;

        if (following) {
            $('newer').hidden = true;
        }
    };

    new ResizeObserver(() => following && scrollToEnd()).observe($('log'));

    $('newer').onclick = () => {
        scrollToEnd();
        $('log').focus();
    };

    $('clear').onclick = () => {
        $('messages').replaceChildren();
        $('newer').hidden = true;
        showEmpty();
    };

    $('channel').onchange = showCurl;
    $('copy').onclick = copyCurl;
    $('curl').onfocus = () => $('curl').select();
    $('measure').onclick = measure;
    $('reconnect').onclick = () => {
        me.worker = null;
        showWorker();
        connection.reconnect();
    };

    $('name').onchange = () => remember($('name').value.trim());

    addEventListener('online', () => connection.hurry());
    document.addEventListener('visibilitychange', () => {
        if (!document.hidden) {
            connection.hurry();
            refreshStatus();
        }
    });
}


me.name = remembered()
          ?? `${SEA[Math.floor(Math.random() * SEA.length)]} `
             + `${10 + Math.floor(Math.random() * 90)}`;
$('name').value = me.name;

bind();

for (const name of wanted()) {
    addChannel(name);
}

connection.connect();
setInterval(refreshStatus, STATUS_EVERY);
