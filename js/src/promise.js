import { SnorkyError } from './error.js';

const FOREVER = 2 ** 31;        /* more than a timer can wait */


export function later(code, wait) {
    return wait < FOREVER && setTimeout(code, wait);
}


export function deferred() {
    const all = {};

    all.promise = new Promise((resolve, reject) =>
        Object.assign(all, { resolve, reject }));

    return all;
}


/*
 * The promise, which is given up after the time-out, or at the signal: giveUp()
 * is to reject it with the error that it is given.
 */
export function patient(promise, { timeout, signal }, giveUp) {
    const abort = () => giveUp(signal.reason);

    const timer = timeout > 0
        && later(() => giveUp(new SnorkyError('timeout', 'No answer in time')),
                 timeout);

    signal?.addEventListener('abort', abort);

    if (signal?.aborted) {
        abort();
    }

    return promise.finally(() => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', abort);
    });
}
