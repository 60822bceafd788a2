<?php

declare(strict_types=1);

namespace Edge\Symfony;

use Edge\Http\Worker;
use Symfony\Component\HttpFoundation\BinaryFileResponse;
use Symfony\Component\HttpFoundation\Response;

/**
 * Sends HttpFoundation's responses, those of Laravel included.
 *
 * @internal
 */
final class Responses
{
    /** The size of the pieces in which files are sent. What is printed leaves at once: it may be an event. */
    private const PIECE = 256 << 10;

    public static function send(Worker $worker, Response $response): void
    {
        $headers = [];
        foreach ($response->headers->all() as $name => $values) {
            // The usual header has one value; a list of strings costs more to write.
            $headers[$name] = isset($values[1]) ? $values : $values[0] ?? '';
        }
        $content = $response->getContent();
        if ($content !== false) {
            $worker->send($response->getStatusCode(), $headers, $content);

            return;
        }
        $worker->print(
            $response->getStatusCode(),
            $headers,
            $response->sendContent(...),
            $response instanceof BinaryFileResponse ? self::PIECE : 0,
        );
    }
}
