/*
 * The to-do demo: shows the rows of an application's database, and has the
 * changes of these rows from DataSync.  demo/todo/app.py is the application.
 *
 * Rows come first, with a token, from the application; then the client acquires
 * the token, and whatever has changed since the token was made arrives in
 * order, without an end.  A change may be in the rows already; so a delta is
 * applied in a way that doing it twice is as good as once.
 */

import { DataSync } from '/js/index.js';
import { $, openWindow, clone, plural, want, wanted } from './window.js';

const FIRST_LIST = 'Reef survey';
const DELTAS_KEPT = 20;

/* what is shown: rows by id { row, item }, and lists' figures by name */
const view = {
    list: wanted(FIRST_LIST)[0],
    onlyOpen: false,
    tasks: new Map(),
    lists: new Map(),
};

let subscription = null;    /* to the rows that are shown */
let deltas = 0;

/* changes are sent one after the other, in the order of the clicks */
let turn = Promise.resolve();


const snorky = openWindow({

    services: { datasync: DataSync },

    changed() {
        $('tasks').classList.toggle('stale', !snorky.isConnected);
    },
});

const { datasync } = snorky.services;


/* --------------------------------------------------------------- loading */

function load() {
    subscription?.cancel().catch(() => { /* it is gone in any case */ });
    subscription = datasync.subscribe(authorize);
}


/*
 * A token is good for one acquisition, and its subscription ends with the
 * connection: so the client calls this for each connection, and again after a
 * pause if it fails.
 */
async function authorize(signal) {
    const query = new URLSearchParams({ list: view.list });

    if (view.onlyOpen) {
        query.set('open', 1);
    }

    try {
        const { data, token } = await ask('GET', `/api/todos?${query}`);

        signal.throwIfAborted();        /* the token lapses by itself */
        showAll(data);
        $('loading').hidden = true;
        return token;

    } catch (error) {
        if (!signal.aborted) {
            $('loading').hidden = false;
            $('loading').textContent = `${error.message}; trying again`;
        }

        throw error;
    }
}


function showAll({ lists, todos }) {
    const there = new Set(todos.map((row) => row.id));

    for (const id of view.tasks.keys()) {
        if (!there.has(id)) {
            removeTask(id);
        }
    }

    todos.forEach(setTask);
    view.lists = new Map(lists.map((figures) => [figures.list, figures]));
    showLists();
}


/* ---------------------------------------------------------------- deltas */

function apply(delta) {
    const { type, model } = delta;
    const row = type === 'update' ? delta.newData : delta.data;

    addDelta(type, model, row);

    if (model === 'list') {
        if (type === 'delete') {
            view.lists.delete(row.list);
        } else {
            view.lists.set(row.list, row);
        }

        showLists();

    } else if (type === 'delete') {
        say(row, view.onlyOpen ? 'no longer here' : 'deleted');
        removeTask(row.id);

    } else if (shows(row)) {
        say(row, type === 'insert' ? 'added' : row.done ? 'done' : 'changed');
        setTask(row);
    }
}


/* a subscription that was just cancelled may have had the last word */
function shows(row) {
    return row.list === view.list && !(view.onlyOpen && row.done);
}


function setTask(row) {
    const known = view.tasks.get(row.id);
    const item = known?.item ?? newTask(row.id);

    view.tasks.set(row.id, { row, item });

    item.classList.toggle('done', row.done);
    item.querySelector('.check input').checked = row.done;
    item.querySelector('.task-title').textContent = row.title;
    item.querySelector('.edit').setAttribute('aria-label',
                                             `Change ${row.title}`);
    item.querySelector('.delete').setAttribute('aria-label',
                                               `Delete ${row.title}`);

    if (known === undefined) {
        const next = [...view.tasks.values()]
            .filter((task) => task.row.id > row.id)
            .sort((a, b) => a.row.id - b.row.id)[0];

        $('tasks').insertBefore(item, next?.item ?? null);
        $('empty').hidden = true;
    }
}


function removeTask(id) {
    const task = view.tasks.get(id);

    if (task === undefined) {
        return;
    }

    /* who was there with the keyboard goes on nearby */
    if (task.item.contains(document.activeElement)) {
        const near = task.item.nextElementSibling
                     ?? task.item.previousElementSibling;

        (near?.querySelector('input') ?? $('title')).focus();
    }

    view.tasks.delete(id);
    task.item.remove();
    $('empty').hidden = view.tasks.size > 0;
}


/* ------------------------------------------------------- the application */

async function ask(method, path, fields) {
    let answer;
    let body = {};

    try {
        answer = await fetch(path, {
            method,
            cache: 'no-store',
            headers: fields && { 'Content-Type': 'application/json' },
            body: fields && JSON.stringify(fields),
        });
        body = await answer.json();

    } catch {
        /* no answer, or one that nginx has made by itself */
    }

    if (!answer?.ok) {
        throw new Error(body.error ?? 'The application cannot be reached');
    }

    return body;
}


/* what changes here comes back as a delta, as it does in other windows */
function change(method, path, fields) {
    const answer = turn.then(() => ask(method, path, fields));

    turn = answer.catch(() => { /* the next change has its own chance */ });
    complain('');

    return answer.catch((error) => {
        complain(`Not changed: ${error.message}.`);
        throw error;
    });
}


/* ------------------------------------------------------------------ tasks */

function newTask(id) {
    const item = clone('task-template');
    const check = item.querySelector('.check input');
    const path = `/api/todos/${id}`;

    check.onchange = () => {
        change('PATCH', path, { done: check.checked })
            .catch(() => { check.checked = view.tasks.get(id)?.row.done; });
    };

    item.querySelector('.edit').onclick = () => edit(id, item, path);
    item.querySelector('.delete').onclick = () =>
        change('DELETE', path).catch(() => { /* it was said */ });

    return item;
}


function edit(id, item, path) {
    const { row } = view.tasks.get(id);
    const form = clone('edit-template');
    const title = form.querySelector('.edit-title');
    const list = form.querySelector('.edit-list');
    const close = () => {
        form.remove();
        item.classList.remove('edited');
        item.querySelector('.edit').focus();
    };

    if (item.classList.contains('edited')) {
        return;
    }

    title.value = row.title;
    list.replaceChildren(...listNames().map(
        (name) => new Option(name, name, false, name === row.list)));

    form.onkeydown = (event) => {
        if (event.key === 'Escape') {
            close();
        }
    };
    form.querySelector('button[type="button"]').onclick = close;
    form.onsubmit = (event) => {
        event.preventDefault();
        change('PATCH', path, { title: title.value, list: list.value })
            .then(close, () => { /* it was said */ });
    };

    item.classList.add('edited');
    item.append(form);
    title.select();
}


/* ------------------------------------------------------------------ lists */

function listNames() {
    return [...new Set([...view.lists.keys(), view.list])]
        .sort((a, b) => a.localeCompare(b));
}


function showLists() {
    const focused = document.activeElement?.dataset?.list;

    $('lists').replaceChildren(...listNames().map((name) => {
        const item = clone('list-template');
        const button = item.querySelector('button');
        const { open, total } = view.lists.get(name) ?? { open: 0, total: 0 };

        button.textContent = name;
        button.dataset.list = name;
        button.setAttribute('aria-pressed', name === view.list);
        button.onclick = () => choose(name);
        item.classList.toggle('mine', name === view.list);
        item.querySelector('.count').textContent = `${open} of ${total} open`;
        return item;
    }));

    [...$('lists').querySelectorAll('button')]
        .find((button) => button.dataset.list === focused)?.focus();

    $('shown').textContent = view.list;
    $('empty').hidden = view.tasks.size > 0;
}


function choose(list) {
    view.list = list;
    want([list]);
    $('another').href = location.href;
    showLists();
    load();
}


/* ------------------------------------------------------------------- view */

function addDelta(type, model, row) {
    const item = clone('delta-template');

    item.querySelector('b').textContent = type;
    item.querySelector('b').classList.add(type);
    item.querySelector('code').textContent =
        `${model} ${JSON.stringify(row)}`;

    $('deltas').prepend(item);
    while ($('deltas').children.length > DELTAS_KEPT) {
        $('deltas').lastElementChild.remove();
    }

    $('delta-count').textContent = plural(++deltas, 'delta');
}


function say(row, what) {
    $('said').textContent = `${row.title}: ${what}`;
}


function complain(text) {
    $('todo-error').textContent = text;
}


function bind() {
    datasync.deltaReceived.add(apply);

    $('open').onchange = () => {
        view.onlyOpen = $('open').checked;
        load();
    };

    $('add').onsubmit = (event) => {
        const title = $('title').value.trim();

        event.preventDefault();
        $('title').focus();

        if (title !== '') {
            $('title').value = '';
            change('POST', '/api/todos', { list: view.list, title })
                .catch(() => { $('title').value ||= title; });
        }
    };

    $('new-list').onsubmit = (event) => {
        const name = $('list-name').value.trim();

        event.preventDefault();

        if (name !== '') {
            $('list-name').value = '';
            choose(name);
        }
    };
}


view.onlyOpen = $('open').checked;
bind();
choose(view.list);
