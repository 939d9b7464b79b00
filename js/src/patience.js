import { SnorkyError } from './error.js';

const LONGEST = 2 ** 31 - 1;    /* of a timer */


/*
 * The promise, as long as the caller's patience lasts: after the time-out, or
 * the signal's abort, it is given up and rejected.
 */
export function patient(promise, { timeout = 0, signal } = {}, giveUp) {
    if (!timeout && !signal) {
        return promise;
    }

    return new Promise((resolve, reject) => {
        const stop = () => {
            clearTimeout(timer);
            signal?.removeEventListener('abort', abort);
        };

        const fail = (error) => {
            stop();
            reject(error);
            giveUp?.(error);
        };

        const abort = () => fail(signal.reason);

        const timer = timeout > 0 && timeout <= LONGEST
                      ? setTimeout(() => fail(new SnorkyError('timeout',
                            'No answer in time')), timeout)
                      : undefined;

        signal?.addEventListener('abort', abort);
        promise.finally(stop).then(resolve, reject);
    });
}
