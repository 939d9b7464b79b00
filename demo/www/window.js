/*
 * What all demo pages have: the card "This window" with its connection, and
 * small helpers.  Text that came from elsewhere only ever becomes textContent,
 * never markup; that goes for every page.
 */

import Snorky from '/js/index.js';

const OWN_HUE = 186;
const SENDERS_KEPT = 1000;
const STATUS_EVERY = 2000;

/* a worker past these is not offered, and so stays unknown to the page */
const WORKERS_OFFERED = 64;

const STATE_TEXTS = {
    connecting: 'Connecting', open: 'Connected', refused: 'Refused',
};

const CLOSE_TEXTS = {
    1000: 'closed',
    1001: 'the server stopped',
    1006: 'the connection was lost',
    1007: 'text was not UTF-8',
    1009: 'the message was too large',
    1011: 'a ping was not answered',
    1012: 'the server restarts',
    1013: 'this window was too slow',
    2000: 'this transport does not work here',
    4001: 'admin closed it',
};

const SEA = [
    'Otter', 'Puffin', 'Urchin', 'Manta', 'Nautilus', 'Limpet', 'Squid',
    'Heron', 'Cuttle', 'Seal', 'Coral', 'Tern', 'Wrasse', 'Anemone',
];

const random = `${SEA[Math.floor(Math.random() * SEA.length)]} `
               + `${10 + Math.floor(Math.random() * 90)}`;

export const $ = (id) => document.getElementById(id);

export const me = {
    id: randomId(),
    name: '',
    worker: null,
};

const hues = new Map();

/* null where a page's sockjs-client could not be loaded */
const SockJS = globalThis.SockJS ?? null;

let snorky = null;
let countdown = null;
let page = null;


/* ------------------------------------------------------------ the window */

/*
 * Connects the page, and returns the client.  The page may give:
 *
 *   services      what it uses of the server: classes by name
 *   identified    the name is the client's identity: a new name makes a new
 *                 connection
 *   changed()     the connection's state is another
 *   renamed()     there is another name
 *   event(text)   something for the page's log
 */
export function openWindow(owner) {
    page = {
        services: {}, identified: false, changed() {}, renamed() {}, event() {},
        ...owner,
    };

    me.name = new URLSearchParams(location.search).get('user')
              || remembered() || random;

    if ($('transport') !== null) {
        chooseTransport();
    }

    snorky = new Snorky(() => address('/ws'), page.services, transport());
    snorky.stateChanged.add(showState);
    snorky.connected.add(() => {
        page.event(connectedBy());
        refreshStatus();
    });

    /* but for what was asked for here */
    snorky.disconnected.add(({ code, reason, wasOpen }) => {
        if (wasOpen && code !== 1000) {
            page.event(`Disconnected: ${closeText(code, reason)} (${code})`);
        }
    });

    if ($('name') !== null) {
        $('name').value = me.name;
        $('name').onchange = rename;
    }

    $('reconnect').onclick = reconnect;

    document.addEventListener('visibilitychange', refreshStatus);
    setInterval(refreshStatus, STATUS_EVERY);

    return snorky;
}


/*
 * nginx takes the identity from the address (snorky_identity $arg_user), as
 * it stands there: escaped.  That is for a demo, where everybody may be whom
 * they want; a real site has an identity that its login made sure of.
 */
function address(path) {
    return page.identified ? `${path}?user=${identity()}` : path;
}


/* what is chosen, without a fallback: a demo shows what works and what not */
function transport() {
    const chosen = $('transport')?.value ?? '';

    if (chosen === '') {
        /* the worker answers with its own, see demo/nginx.conf */
        return { protocols: Array.from({ length: WORKERS_OFFERED },
                                       (_, n) => `worker.${n}`) };
    }

    return {
        WebSocket: null,
        SockJS,
        sockjsUrl: () => address('/sockjs'),
        sockjsOptions: { transports: chosen === 'any' ? [] : [chosen] },
    };
}


/* an apostrophe is escaped by the browser, as all of it is in an address */
export function identity() {
    return encodeURIComponent(me.name).replaceAll("'", '%27');
}


/* the name that an identity stands for */
export function nameOf(text) {
    try {
        return decodeURIComponent(text);
    } catch {
        return String(text);
    }
}


function rename() {
    const name = $('name').value.trim() || random;

    $('name').value = name;

    if (name === me.name) {
        return;
    }

    me.name = name;
    remember(name);
    page.renamed();

    if (page.identified) {
        reconnect();
    }
}


/* the choice is kept in the address, and takes effect with it */
function chooseTransport() {
    const field = $('transport');
    const wanted = new URLSearchParams(location.search).get('transport');
    const known = [...field.options].some(({ value }) => value === wanted);

    field.value = SockJS !== null && known ? wanted : '';
    field.querySelector('optgroup').disabled = SockJS === null;
    $('no-sockjs').hidden = SockJS !== null;

    field.onchange = () => {
        const url = new URL(location.href);

        if (field.value === '') {
            url.searchParams.delete('transport');
        } else {
            url.searchParams.set('transport', field.value);
        }

        if (url.searchParams.has('user')) {
            url.searchParams.set('user', me.name);
        }

        location.assign(url);
    };
}


/* also where the server has refused the client, which it heeds otherwise */
function reconnect() {
    snorky.restart();
    snorky.connect();
}


function showState({ state, code, reason, wait }) {
    clearInterval(countdown);
    $('state').dataset.state = state;
    $('state-text').textContent = STATE_TEXTS[state];

    if (state === 'waiting') {
        count(Date.now() + wait);
    }

    if (state !== 'connecting') {
        me.worker = workerOf(snorky.socket);
        showServed(closeText(code, reason));
    }

    page.changed();
}


function closeText(code, reason) {
    return CLOSE_TEXTS[code] ?? (reason || `close code ${code}`);
}


function count(until) {
    const show = () => {
        const left = Math.ceil((until - Date.now()) / 1000);

        $('state-text').textContent =
            left === Infinity ? 'Waiting for a network'
            : left > 1 ? `Trying again in ${left} s` : 'Reconnecting';
    };

    show();
    countdown = setInterval(show, 500);
}


function showServed(why) {
    const [worker, over] = server() ?? ['no worker yet', why];

    $('worker').textContent = worker;
    $('worker').classList.toggle('none', !snorky.isConnected);

    if ($('over') !== null) {
        $('over').textContent = over;
    }
}


/*
 * Which worker it is, only a plain WebSocket tells; and a session of SockJS
 * has one worker, but its requests do not, unless it is by websocket.
 */
function server() {
    if (!snorky.isConnected) {
        return null;
    }

    if (snorky.transport === 'websocket') {
        return [`Worker ${me.worker ?? '?'}`, 'over a WebSocket'];
    }

    const { transport } = snorky.socket;

    return transport === 'websocket'
        ? ['one worker', 'over SockJS, by websocket: a page can’t see which']
        : ['any worker', `over SockJS, by ${transport}: each request comes to `
                         + 'whichever takes it'];
}


function connectedBy() {
    return me.worker !== null ? `Connected to worker ${me.worker}`
           : snorky.transport === 'sockjs'
           ? `Connected by ${snorky.socket.transport}` : 'Connected';
}


/* its number is the subprotocol; SockJS has none */
function workerOf(socket) {
    const found = /^worker\.([0-9]+)$/.exec(socket?.protocol);

    return found === null ? null : Number(found[1]);
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
            const windows = worker.sessions_websocket
                            + worker.sessions_sockjs;
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


/* --------------------------------------------------------------- the log */

/*
 * A list of rows that is scrolled to its end and stays there, unless the user
 * scrolls up.  The elements are those with the ids "log", "newer", "empty".
 */
export class Log {

    constructor(kept) {
        this.kept = kept;
        this.following = true;
        this.list = null;

        const log = $('log');

        log.onscroll = () => {
            this.following = log.scrollHeight - log.scrollTop
                             - log.clientHeight < 40;

            if (this.following) {
                $('newer').hidden = true;
            }
        };

        new ResizeObserver(() => this.following && this.toEnd()).observe(log);

        $('newer').onclick = () => {
            this.toEnd();
            log.focus();
        };

        $('clear').onclick = () => {
            this.list.replaceChildren();
            $('newer').hidden = true;
            this.showEmpty();
        };
    }

    show(list) {
        this.list = list;
        $('newer').hidden = true;
        this.showEmpty();
        this.toEnd();
    }

    add(item, list = this.list) {
        list.append(item);
        while (list.children.length > this.kept) {
            list.firstElementChild.remove();
        }

        if (list !== this.list) {
            return;
        }

        this.showEmpty();

        if (this.following) {
            this.toEnd();
        } else if (item.classList.contains('message')) {
            $('newer').hidden = false;
        }
    }

    addEvent(text, list = this.list, when = new Date()) {
        const item = clone('event-template');
        const time = new Date(when);

        item.querySelector('.body').textContent = text;
        item.querySelector('time').textContent = time.toLocaleTimeString();
        item.querySelector('time').dateTime = time.toISOString();
        this.add(item, list);
    }

    toEnd() {
        $('log').scrollTop = $('log').scrollHeight;
        this.following = true;
    }

    showEmpty() {
        $('empty').hidden = this.list?.querySelector('.message') != null;
    }
}


/* --------------------------------------------------------------- helpers */

export function clone(template) {
    return $(template).content.firstElementChild.cloneNode(true);
}


/* the letter in a sender's circle */
export function initial(name) {
    return [...name.trim()][0] ?? '?';
}


/*
 * A colour for each sender, in the order in which they are met: steps of the
 * golden angle stay apart, however many there are.
 */
export function hueOf(id) {
    if (!hues.has(id) && hues.size < SENDERS_KEPT) {
        hues.set(id, Math.round(OWN_HUE + 137.5 * hues.size) % 360);
    }

    return hues.get(id) ?? OWN_HUE;
}


export function plural(n, noun) {
    return `${n} ${noun}${n === 1 ? '' : 's'}`;
}


/* what stands behind the # of the address, or what there is without it */
export function wanted(otherwise) {
    const names = location.hash.slice(1).split(',')
        .filter((name) => name !== '')
        .map((name) => {
            try {
                return decodeURIComponent(name);
            } catch {
                return name;
            }
        });

    return names.length > 0 ? [...new Set(names)] : [otherwise];
}


export function want(names) {
    history.replaceState(null, '',
        '#' + names.map(encodeURIComponent).join(','));
}


function randomId() {
    return [...crypto.getRandomValues(new Uint8Array(8))]
        .map((byte) => byte.toString(16).padStart(2, '0')).join('');
}


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
