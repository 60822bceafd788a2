<?php

declare(strict_types=1);

namespace Edge\Tests;

use Edge\Http\Request;
use Edge\RPC;
use Edge\WebSocket;
use Edge\WebSocket\Connection;
use PHPUnit\Framework\TestCase;

final class ConnectionTest extends TestCase
{
    /** @dataProvider codes */
    public function testClose(int $code, bool $may): void
    {
        $connection = new Connection(
            Request::fromMessage(Pack::request('POST', 'http://a/'), ''),
            new WebSocket(rpc: new RPC('tcp://127.0.0.1:1')),
            'message',
        );
        if (!$may) {
            $this->expectException(\InvalidArgumentException::class);
            $this->expectExceptionMessage("code: must be 1000, 1001, 1003, 1007 to 1013 or 3000 to 4999, got $code");
        }
        $connection->close($code, 'bye');
        self::assertSame("$code bye", $connection->response()->headers['X-Ws-Close'] ?? null);
    }

    public function codes(): iterable
    {
        foreach ([1000, 1001, 1003, 1007, 1013, 3000, 4000, 4999] as $code) {
            yield [$code, true];
        }
        foreach ([-1, 0, 999, 1002, 1004, 1005, 1006, 1014, 1015, 1016, 2999, 5000] as $code) {
            yield [$code, false];
        }
    }
}
