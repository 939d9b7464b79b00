/*
 * What all demo pages have: the card "This window" with its connection, and
 * small helpers.  Text that came from elsewhere only ever becomes textContent,
 * never markup; that goes for every page.
 */

import {
    Connection, CLOSE_TEXTS, SockJS, sockJS, webSocket,
} from './snorky.js';

const OWN_HUE = 186;
const SENDERS_KEPT = 1000;
const STATUS_EVERY = 2000;

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
    transport: null,
};

const hues = new Map();

let connection = null;
let countdown = null;
let page = null;


/* ------------------------------------------------------------ the window */

/*
 * Connects the page, and returns the connection.  The page may give:
 *
 *   identified    the name is the client's identity: a new name makes a new
 *                 connection
 *   opened()      after each connect
 *   changed()     the connection's state is another
 *   notified(service, content)
 *   renamed()     there is another name
 *   event(text)   something for the page's log
 */
export function openWindow(owner) {
    page = {
        identified: false, opened() {}, changed() {}, notified() {},
        renamed() {}, event() {}, ...owner,
    };

    me.name = new URLSearchParams(location.search).get('user')
              || remembered() || random;

    connection = new Connection({
        dial,
        onstate: showState,
        onnotify: page.notified,

        onopen(worker, transport) {
            me.worker = worker;
            me.transport = transport;
            showServed();
            page.event(worker !== null ? `Connected to worker ${worker}`
                       : transport !== null ? `Connected by ${transport}`
                       : 'Connected');
            page.opened();
            refreshStatus();
        },
    });

    if ($('name') !== null) {
        $('name').value = me.name;
        $('name').onchange = rename;
    }

    if ($('transport') !== null) {
        chooseTransport();
    }

    $('reconnect').onclick = reconnect;

    addEventListener('online', () => connection.hurry());
    document.addEventListener('visibilitychange', () => {
        if (!document.hidden) {
            connection.hurry();
            refreshStatus();
        }
    });

    setInterval(refreshStatus, STATUS_EVERY);

    /* the page has its connection before it hears of it */
    queueMicrotask(() => connection.connect());

    return connection;
}


/*
 * nginx takes the identity from the address (snorky_identity $arg_user), as
 * it stands there: escaped.  That is for a demo, where everybody may be whom
 * they want; a real site has an identity that its login made sure of.
 */
function dial() {
    const query = page.identified ? `?user=${identity()}` : '';
    const transport = $('transport')?.value ?? '';

    if (transport === '') {
        return webSocket(`/ws${query}`);
    }

    return sockJS(`/sockjs${query}`, transport === 'any' ? [] : [transport]);
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


/* the choice is kept in the address */
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

        history.replaceState(null, '', url);
        reconnect();
    };
}


function reconnect() {
    nobodyServes('');
    connection.reconnect();
}


function showState(state, detail) {
    clearInterval(countdown);
    $('state').dataset.state = state;

    if (state === 'waiting') {
        const why = CLOSE_TEXTS[detail.code]
                    ?? (detail.reason || `close code ${detail.code}`);

        if (detail.wasOpen) {
            page.event(`Disconnected: ${why} (${detail.code})`);
        }

        nobodyServes(why);
        count(Date.now() + detail.wait);

    } else {
        $('state-text').textContent = state === 'open' ? 'Connected'
                                                       : 'Connecting';
    }

    page.changed();
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


function nobodyServes(why) {
    me.worker = null;
    me.transport = null;
    showServed(why);
}


function showServed(why = '') {
    const [worker, over] = server() ?? ['no worker yet', why];

    $('worker').textContent = worker;
    $('worker').classList.toggle('none', server() === null);

    if ($('over') !== null) {
        $('over').textContent = over;
    }
}


/*
 * Which worker it is, only a plain WebSocket tells; and a session of SockJS
 * has one worker, but its requests do not, unless it is by websocket.
 */
function server() {
    if (me.worker !== null) {
        return [`Worker ${me.worker}`, 'over a WebSocket'];
    }

    switch (me.transport) {

    case null:
        return null;

    case 'websocket':
        return ['one worker',
                'over SockJS, by websocket: a page can’t see which'];

    default:
        return ['any worker', `over SockJS, by ${me.transport}: each request `
                              + 'comes to whichever takes it'];
    }
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
