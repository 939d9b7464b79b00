/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * A TCP proxy before nginx, in which a link can break as links do.  It reads
 * the WebSocket messages of both sides as they pass.
 *
 *   const proxy = await Proxy.start(port);
 *   proxy.port, .accepted, .open     connections so far, and that there are
 *   proxy.heads                      first lines of requests
 *   proxy.sent, proxy.got            texts of the client, of the server
 *   proxy.freeze()                   nothing passes, nothing closes
 *   proxy.thaw()                     what waited passes
 *   proxy.cut()                      all connections are reset
 *   proxy.end(code, reason)          all clients get such a close frame
 *   proxy.refuse() .listen()         nobody listens at the port; again
 *   proxy.answer = 'HTTP/1.1 ...'    what requests (for .only, a regular
 *                                    expression) get instead of nginx
 */

import net from 'node:net';
import { during } from './lib.mjs';

const TEXT = 1;
const CLOSE = 8;


/* gives the text messages of one direction to a function */
class Reader {
    constructor(found) {
        this.found = found;
        this.bytes = Buffer.alloc(0);
        this.head = null;
    }

    take(bytes) {
        this.bytes = Buffer.concat([this.bytes, bytes]);

        if (this.head === null) {
            const end = this.bytes.indexOf('\r\n\r\n');

            if (end === -1) {
                return;
            }

            this.head = this.bytes.toString('latin1', 0, end);
            this.bytes = this.bytes.subarray(end + 4);
        }

        if (/^upgrade: *websocket/im.test(this.head)) {
            while (this.frame()) {
                /* the next one */
            }
        }
    }

    frame() {
        const { bytes } = this;

        if (bytes.length < 2) {
            return false;
        }

        const masked = bytes[1] & 0x80 ? 4 : 0;
        let length = bytes[1] & 0x7f;
        let at = 2;

        if (length > 125) {
            at = length === 126 ? 4 : 10;

            if (bytes.length < at) {
                return false;
            }

            length = at === 4 ? bytes.readUInt16BE(2)
                              : Number(bytes.readBigUInt64BE(2));
        }

        if (bytes.length < at + masked + length) {
            return false;
        }

        const data = Buffer.from(
            bytes.subarray(at + masked, at + masked + length));

        if (masked) {
            data.forEach((byte, n) => {
                data[n] = byte ^ bytes[at + n % 4];
            });
        }

        this.bytes = bytes.subarray(at + masked + length);

        if ((bytes[0] & 0x0f) === TEXT) {
            this.found(data.toString());
        }

        return true;
    }
}


export class Proxy {
    static async start(to) {
        const proxy = during(new Proxy());

        proxy.to = to;
        proxy.links = new Set();
        proxy.accepted = 0;
        proxy.heads = [];
        proxy.sent = [];
        proxy.got = [];
        proxy.frozen = false;
        proxy.answer = null;
        proxy.only = /^/;

        await proxy.listen();
        return proxy;
    }

    get open() {
        return this.links.size;
    }

    listen() {
        this.server = net.createServer((socket) => this.accept(socket));

        return new Promise((resolve) => {
            this.server.listen(this.port ?? 0, '127.0.0.1', () => {
                this.port = this.server.address().port;
                resolve();
            });
        });
    }

    refuse() {
        return new Promise((resolve) => {
            this.server.close(resolve);
            this.cut();
        });
    }

    accept(client) {
        const link = { client, server: null };

        this.accepted++;
        this.links.add(link);

        client.on('error', () => {});
        client.on('close', () => {
            this.links.delete(link);
            link.server?.destroy();
        });

        if (this.frozen) {
            client.pause();
            link.later = () => this.begin(link);
            return;
        }

        this.begin(link);
    }

    /* the first bytes tell whether nginx is to have it */
    begin(link) {
        const { client } = link;

        client.once('data', (bytes) => {
            const [line] = bytes.toString('latin1').split('\r\n');

            this.heads.push(line);

            if (this.answer !== null && this.only.test(line)) {
                client.end(this.answer);
                return;
            }

            this.join(link);
            link.fromClient.take(bytes);
            link.server.write(bytes);
        });
    }

    join(link) {
        const { client } = link;
        const server = net.connect(this.to, '127.0.0.1');

        link.server = server;
        link.fromClient = new Reader((text) => this.sent.push(text));
        link.fromServer = new Reader((text) => this.got.push(text));

        server.on('error', () => {});
        server.on('close', () => {
            if (!this.frozen) {
                client.destroySoon();
            }
        });

        client.on('data', (bytes) => {
            link.fromClient.take(bytes);
            server.write(bytes);
        });

        server.on('data', (bytes) => {
            link.fromServer.take(bytes);
            client.write(bytes);
        });

        client.on('end', () => server.end());
    }

    freeze() {
        this.frozen = true;

        for (const { client, server } of this.links) {
            client.pause();
            server?.pause();
        }
    }

    thaw() {
        this.frozen = false;

        for (const link of this.links) {
            link.later?.();
            link.later = null;
            link.client.resume();
            link.server?.resume();

            if (link.server?.destroyed) {
                link.client.destroySoon();
            }
        }
    }

    cut() {
        for (const { client, server } of this.links) {
            client.resetAndDestroy();
            server?.destroy();
        }
    }

    /* as if the server had said it */
    end(code, reason = '') {
        const text = Buffer.from(reason);
        const frame = Buffer.concat([
            Buffer.from([0x80 | CLOSE, 2 + text.length, code >> 8, code & 255]),
            text,
        ]);

        for (const { client } of this.links) {
            client.end(frame);
        }
    }

    close() {
        return this.refuse();
    }
}
