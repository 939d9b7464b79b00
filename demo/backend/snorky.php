<?php

/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * Calls Snorky's services from a backend in PHP: see docs/backend.md.
 *
 *   require 'snorky.php';
 *
 *   $backend = new Snorky\Backend('http://127.0.0.1:8080/backend', $key);
 *
 *   $backend->call('messaging_backend', 'publish',
 *                  ['channel' => 'news', 'message' => 'Hello!']);
 *
 * Without arguments, the address is that of the environment's SNORKY_URL, and
 * the key that of SNORKY_KEY.  So it is from a shell:
 *
 *   php snorky.php SERVICE COMMAND [PARAMS]
 *
 * PARAMS is JSON, of the standard input where it is left out.  What is
 * returned is printed.  The exit status is 1 when the call was refused, and 3
 * when it is not known what has become of it.
 *
 * It needs nothing but PHP 8.0.  Copy it into your application.
 */

declare(strict_types=1);

namespace Snorky;


/* any of the following */
class SnorkyError extends \RuntimeException
{
}


/* the answer is an error, and this its text; nothing was done */
final class ServiceError extends SnorkyError
{
}


/* an HTTP status, which is the code, and no answer */
final class StatusError extends SnorkyError
{
    public function __construct(int $status)
    {
        parent::__construct("HTTP status $status", $status);
    }
}


/* none came, or not in time: the call may have been carried out */
final class NoAnswer extends SnorkyError
{
}


/* a connection for each call: those of PHP's streams cannot be kept */
final class Backend
{
    private const JSON = JSON_THROW_ON_ERROR | JSON_UNESCAPED_UNICODE
        | JSON_UNESCAPED_LINE_TERMINATORS | JSON_UNESCAPED_SLASHES
        | JSON_PRESERVE_ZERO_FRACTION;

    private string $url;
    private string $key;

    public function __construct(
        ?string $url = null,
        ?string $key = null,
        private float $timeout = 15,    /* seconds, for each wait */
    ) {
        $this->url = $url ?? (string) getenv('SNORKY_URL');
        $this->key = $key ?? (string) getenv('SNORKY_KEY');
    }

    /* what the command returns */
    public function call(
        string $service,
        string $command,
        array|object $params,
    ): mixed {
        $answer = $this->post(self::envelope($service, $command, $params));
        $message = $answer['message'];

        if ($message['type'] === 'error') {
            throw new ServiceError($message['message']);
        }

        return $message['data'];
    }

    /*
     * Makes [$service, $command, $params] one after the other.  Their answers,
     * ['type' => 'response', 'data' => ...] or ['type' => 'error', 'message'
     * => ...].  There are less than calls when the last is Overloaded: then
     * those behind it were not tried.
     */
    public function batch(array $calls): array
    {
        $envelopes = array_map(fn ($call) => self::envelope(...$call), $calls);

        return array_column($this->post($envelopes), 'message');
    }

    private function post(array $message): array
    {
        $context = stream_context_create(['http' => [
            'method' => 'POST',
            'header' => [
                'Content-Type: application/json',
                "X-Backend-Key: $this->key",
            ],
            'content' => json_encode($message, self::JSON),
            'protocol_version' => 1.1,
            'timeout' => $this->timeout,
            'ignore_errors' => true,    /* a status is no failure here */
            'follow_location' => 0,     /* the key is for nobody else */
        ]]);

        $stream = @fopen($this->url, 'r', false, $context);

        if ($stream === false) {
            throw new NoAnswer(error_get_last()['message']);
        }

        $text = stream_get_contents($stream);
        $meta = stream_get_meta_data($stream);
        fclose($stream);

        if ($text === false || $meta['timed_out']) {
            throw new NoAnswer('half an answer');
        }

        $status = (int) explode(' ', $meta['wrapper_data'][0])[1];

        /* 503 comes with an answer, too, when that is this error */
        if ($status === 200
            || $status === 503 && str_contains($text, '"Overloaded"')) {
            return json_decode($text, true, 512, JSON_THROW_ON_ERROR);
        }

        /* nginx, or a proxy before it, may have failed when all was done */
        if (in_array($status, [500, 502, 504], true)) {
            throw new NoAnswer("HTTP status $status");
        }

        throw new StatusError($status);
    }

    private static function envelope(
        string $service,
        string $command,
        array|object $params,
    ): array {
        return ['service' => $service, 'message' => [
            'command' => $command, 'params' => (object) $params, 'callId' => 1,
        ]];
    }
}


function main(array $args): int
{
    if (count($args) !== 2 && count($args) !== 3) {
        fwrite(STDERR, "usage: snorky.php SERVICE COMMAND [PARAMS]\n");
        return 2;
    }

    /* objects stay objects, also without members */
    $params = json_decode($args[2] ?? stream_get_contents(STDIN), false, 512,
        JSON_THROW_ON_ERROR);

    try {
        $data = (new Backend())->call($args[0], $args[1], $params);
    } catch (SnorkyError $error) {
        $name = substr($error::class, strlen(__NAMESPACE__) + 1);
        fwrite(STDERR, "$name: {$error->getMessage()}\n");
        return $error instanceof NoAnswer ? 3 : 1;
    }

    echo is_string($data) ? $data : json_encode($data), "\n";

    return 0;
}


if (PHP_SAPI === 'cli'
    && realpath($_SERVER['SCRIPT_FILENAME']) === __FILE__) {
    exit(main(array_slice($_SERVER['argv'], 1)));
}
