<?php

// Answers of any size, written whole or in small pieces: a worker by hand, of RoadRunner's protocol in JSON and pipes.

declare(strict_types=1);

function readFrame(): array
{
    $header = fread(STDIN, 12);
    if ($header === false || strlen($header) < 12) {
        exit;
    }
    ['head' => $head, 'flags' => $flags, 'len' => $len] = unpack('Chead/Cflags/Vlen', $header);
    $options = ($head & 0x0f) > 3 ? unpack('V*', fread(STDIN, 4 * (($head & 0x0f) - 3))) : [];
    $payload = '';
    while (strlen($payload) < $len) {
        $payload .= fread(STDIN, $len - strlen($payload));
    }

    return [$flags, array_values($options), $payload];
}

function writeFrame(int $flags, string $payload, array $options, int $piece = 1 << 20): void
{
    $start = pack('CCV', 0x13 + count($options), $flags, strlen($payload));
    $frame = $start . pack('V', crc32($start)) . "\0\0" . pack('V*', ...$options) . $payload;
    for ($at = 0; $at < strlen($frame); $at += $piece) {
        fwrite(STDOUT, substr($frame, $at, $piece));
    }
}

while (true) {
    [$flags, $options, $payload] = readFrame();
    if ($flags & 0x01) {
        if (str_contains($payload, 'stop')) {
            exit;
        }
        writeFrame(0x01, json_encode(['pid' => getmypid()]), []);
        continue;
    }
    $context = json_decode(substr($payload, 0, $options[0]), true);
    parse_str((string) parse_url($context['uri'], PHP_URL_QUERY), $query);
    $body = substr(str_repeat("0123456789abcde\n", intdiv((int) $query['size'], 16) + 1), 0, (int) $query['size']);
    $head = json_encode(['status' => 200, 'headers' => ['Content-Type' => ['text/plain']]]);
    writeFrame(0x08, $head . $body, [strlen($head)], (int) ($query['piece'] ?? 1 << 20));
}
