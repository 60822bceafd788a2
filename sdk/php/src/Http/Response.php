<?php

declare(strict_types=1);

namespace Edge\Http;

/**
 * A response. Its body is a string, or something to loop over, such as a generator, that is sent piece by piece as it comes:
 *
 *     return new Response(200, ['Content-Type' => 'text/event-stream'], (function () {
 *         foreach (events() as $event) {
 *             yield "data: $event\n\n";
 *         }
 *     })());
 *
 * When the client is gone, the generator is closed: its finally blocks run.
 */
final class Response
{
    /**
     * @param array<string, string|int|float|list<string>> $headers
     * @param string|iterable<string>                      $body
     */
    public function __construct(
        public readonly int $status = 200,
        public readonly array $headers = [],
        public readonly string|iterable $body = '',
    ) {
    }

    /** @param array<string, string|int|float|list<string>> $headers */
    public static function text(string $text, int $status = 200, array $headers = []): self
    {
        return new self($status, $headers + ['Content-Type' => 'text/plain; charset=utf-8'], $text);
    }

    /** @param array<string, string|int|float|list<string>> $headers */
    public static function html(string $html, int $status = 200, array $headers = []): self
    {
        return new self($status, $headers + ['Content-Type' => 'text/html; charset=utf-8'], $html);
    }

    /** @param array<string, string|int|float|list<string>> $headers */
    public static function json(mixed $value, int $status = 200, array $headers = []): self
    {
        $json = \json_encode($value, \JSON_THROW_ON_ERROR | \JSON_UNESCAPED_SLASHES | \JSON_UNESCAPED_UNICODE);

        return new self($status, $headers + ['Content-Type' => 'application/json'], $json);
    }

    public static function redirect(string $url, int $status = 302): self
    {
        return new self($status, ['Location' => $url]);
    }
}
