/*
 * Whether the server does not want us: by the close code (docs/protocol.md),
 * or by HTTP, where a page is told nothing of a handshake that failed.
 */

const CODES = [1000, 1002, 1003, 1007, 1008, 1010];

/* 1002 is also what SockJS says of a network that failed */
const INTERRUPTED = ['Connection interrupted', 'Cannot connect to server'];

const STATUSES = [401, 403, 404, 405, 410];


export function isRefusal(code, reason) {
    return (CODES.includes(code) && !INTERRUPTED.includes(reason))
           || (code >= 3000 && code <= 4999);
}


/* a status that is a refusal, or undefined, as where none can be seen */
export async function refusedStatus(page, timeout) {
    try {
        const { status, body } = await fetch(page, {
            cache: 'no-store',
            credentials: 'include',
            redirect: 'manual',
            signal: AbortSignal.timeout(timeout),
        });

        body?.cancel();
        return STATUSES.includes(status) ? status : undefined;

    } catch {
        return undefined;
    }
}
