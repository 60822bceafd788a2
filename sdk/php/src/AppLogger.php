<?php

declare(strict_types=1);

namespace Edge;

use Edge\Http\Message;

/**
 * Writes to the log of the server, as its logger "app":
 *
 *     (new AppLogger())->warning('payment is late', ['order' => 7]);
 */
final class AppLogger
{
    private readonly RPC $rpc;

    public function __construct(?RPC $rpc = null)
    {
        $this->rpc = $rpc ?? new RPC();
    }

    /** @param array<string, mixed> $context */
    public function error(string|\Stringable $message, array $context = []): void
    {
        $this->send('app.Error', (string) $message, $context);
    }

    /** @param array<string, mixed> $context */
    public function warning(string|\Stringable $message, array $context = []): void
    {
        $this->send('app.Warning', (string) $message, $context);
    }

    /** @param array<string, mixed> $context */
    public function info(string|\Stringable $message, array $context = []): void
    {
        $this->send('app.Info', (string) $message, $context);
    }

    /** @param array<string, mixed> $context */
    public function debug(string|\Stringable $message, array $context = []): void
    {
        $this->send('app.Debug', (string) $message, $context);
    }

    /**
     * Writes to the server's standard error as it is, without a line feed.
     *
     * @param array<string, mixed> $context
     */
    public function raw(string|\Stringable $message, array $context = []): void
    {
        $this->send('app.Log', (string) $message, $context);
    }

    /** @param array<string, mixed> $context */
    private function send(string $method, string $message, array $context): void
    {
        $entry = self::field("\x0a", $message);
        foreach ($context as $key => $value) {
            $text = \is_string($value) || $value instanceof \Stringable
                ? (string) $value
                : \json_encode($value, \JSON_UNESCAPED_SLASHES | \JSON_UNESCAPED_UNICODE | \JSON_INVALID_UTF8_SUBSTITUTE | \JSON_PARTIAL_OUTPUT_ON_ERROR);
            $entry .= self::field("\x12", self::field("\x0a", (string) $key) . self::field("\x12", (string) $text), false);
        }
        $this->rpc->callProto($method . 'WithContext', $entry);
    }

    /** A field of a message. Texts must be UTF-8; what is not of a text is shown as ?. */
    private static function field(string $tag, string $bytes, bool $text = true): string
    {
        if ($text && !\preg_match('//u', $bytes)) {
            $bytes = \mb_convert_encoding($bytes, 'UTF-8', 'UTF-8');
        }

        return $tag . Message::length(\strlen($bytes)) . $bytes;
    }
}
