import { Signal } from './signal.js';
import { callable, RPCService } from './service.js';

const CHANNEL = { take: 'join', free: 'leave', none: 'Not joined' };


export const Chat = callable(class Chat extends RPCService {
    init() {
        super.init();
        this.messageReceived = new Signal();
        this.presenceReceived = new Signal();
        this.readReceived = new Signal();
        this.notificationReceived.add(this.onNotification, this);
    }

    async join(params = {}, options) {
        const { members } = await this._holds.take(CHANNEL, params.channel,
                                                   params, options);

        return { members: [...members] };
    }

    leave(params = {}, options) {
        return this._holds.free(CHANNEL, params.channel, params, options);
    }

    room(channel, options) {
        return {
            send: (body, more) => this.send({ channel, body }, more),
            read: (more) => this.read({ channel }, more),

            [Symbol.asyncIterator]: () =>
                this._holds.stream(CHANNEL, channel, { channel }, options),
        };
    }

    onNotification(content) {
        const { type, channel } = content ?? {};

        if (['message', 'presence', 'read'].includes(type)) {
            if (type === 'presence') {
                this._count(content);
            }

            this._holds.tell(CHANNEL, channel, content);
            this[`${type}Received`].dispatch(content);
        }
    }

    /* who joins what a loop has joined is to know its members of now */
    _count({ channel, from, status }) {
        const known = this._holds.get(CHANNEL, channel)?.data;

        if (known) {
            known.members = known.members.filter((name) => name !== from);

            if (status === 'joined') {
                known.members.push(from);
            }
        }
    }
});

Chat.addRPCMethods(['send', 'read']);
