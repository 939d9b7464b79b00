// Copyright (C) The ngx_snorky_module authors
//
// The comparison: Node's "ws", one process, as its users write a server of
// channels.  /raw/CHANNEL subscribes; with ?publish each message goes to all
// subscribers of the channel, and is answered with "ok".
//
//   node bench/ws.js PORT

'use strict';

const { WebSocketServer } = require('ws');

const channels = new Map();

function subscribe(name, client) {
    let clients = channels.get(name);

    if (!clients) {
        clients = new Set();
        channels.set(name, clients);
    }

    clients.add(client);

    client.on('close', () => {
        clients.delete(client);

        if (clients.size === 0 && channels.get(name) === clients) {
            channels.delete(name);
        }
    });
}

function publish(name, data) {
    const text = data.toString();

    for (const client of channels.get(name) || []) {
        client.send(text);
    }
}

const server = new WebSocketServer({
    host: '127.0.0.1',
    port: Number(process.argv[2]),
    backlog: 4096,
});

server.on('connection', (client, request) => {
    const url = new URL(request.url, 'http://localhost');

    client.on('error', () => client.terminate());

    if (!url.searchParams.has('publish')) {
        subscribe(url.pathname, client);
        return;
    }

    client.on('message', (data) => {
        publish(url.pathname, data);
        client.send('ok');
    });
});
