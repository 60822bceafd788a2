<?php

declare(strict_types=1);

namespace Edge\Tests\WebSocket;

/** The least of a WebSocket client: short, whole frames. */
final class Client
{
    /** @var resource */
    private $stream;

    /** The answer to the handshake, head and body. */
    public string $answer = '';

    public int $status = 0;

    public function __construct(string $address, string $path, string $headers = '')
    {
        $this->stream = \stream_socket_client("tcp://$address", timeout: 10) ?: throw new \RuntimeException("no server at $address");
        \stream_set_timeout($this->stream, 30);
        $key = \base64_encode(\random_bytes(16));
        \fwrite($this->stream, "GET $path HTTP/1.1\r\nHost: $address\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            . "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: $key\r\n$headers\r\n");
        while (!\str_ends_with($this->answer, "\r\n\r\n") && false !== $line = \fgets($this->stream)) {
            $this->answer .= $line;
        }
        $this->status = (int) \substr($this->answer, 9, 3);
    }

    public function send(string $message, bool $binary = false): void
    {
        $this->frame($binary ? 2 : 1, $message);
    }

    public function close(int $code): void
    {
        $this->frame(8, \pack('n', $code));
    }

    private function frame(int $kind, string $payload): void
    {
        $mask = \random_bytes(4);
        $masked = $payload ^ \str_pad('', \strlen($payload), $mask);
        \fwrite($this->stream, \chr(0x80 | $kind) . \chr(0x80 | \strlen($payload)) . $mask . $masked);
    }

    /** The next message; a close frame is "close CODE REASON", bytes are "binary HEX". */
    public function next(): string
    {
        $head = $this->read(2);
        $size = \ord($head[1]) & 127;
        if ($size === 126) {
            $size = \unpack('n', $this->read(2))[1];
        }
        $payload = $this->read($size);

        return match (\ord($head[0]) & 15) {
            1 => $payload,
            2 => 'binary ' . \bin2hex($payload),
            8 => 'close ' . \unpack('n', $payload)[1] . ' ' . \substr($payload, 2),
            default => $this->next(),
        };
    }

    private function read(int $n): string
    {
        $bytes = '';
        while (\strlen($bytes) < $n) {
            $piece = \fread($this->stream, $n - \strlen($bytes));
            if ($piece === false || $piece === '') {
                throw new \RuntimeException('the connection ended, or nothing came');
            }
            $bytes .= $piece;
        }

        return $bytes;
    }
}
