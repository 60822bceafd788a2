<?php

declare(strict_types=1);

namespace Edge\Tests\Services;

use Edge\AppLogger;
use Edge\Exception\RPCException;
use Edge\Informer;
use Edge\Lock;
use Edge\Metrics;
use Edge\RPC;
use Edge\Status;
use Edge\Trace;
use PHPUnit\Framework\TestCase;

/** Calls the services of a whole server; see services_test.go, which starts it and sets EDGE_RPC. */
final class ServicesTest extends TestCase
{
    public static function setUpBeforeClass(): void
    {
        if (getenv('EDGE_RPC') === false) {
            self::markTestSkipped('EDGE_RPC is not set: run "go test ./sdk/php"');
        }
    }

    public function testLock(): void
    {
        $lock = new Lock();
        self::assertFalse($lock->exists('report'));
        self::assertTrue($lock->acquire('report', 'a', ttl: 60));
        self::assertGreaterThan(1 << 40, $first = $lock->token);
        self::assertFalse($lock->acquire('report', 'b', wait: 0.001));
        self::assertSame(0, $lock->token);
        self::assertFalse($lock->acquireRead('report', 'b'));
        self::assertTrue($lock->exists('report'));
        self::assertTrue($lock->exists('report', 'a'));
        self::assertFalse($lock->exists('report', 'b'));
        self::assertTrue($lock->updateTTL('report', 'a', 0.01));
        self::assertTrue($lock->acquire('report', 'b', wait: 20), 'after the time of a');
        self::assertGreaterThan($first, $lock->token);
        self::assertFalse($lock->release('report', 'a'));
        self::assertTrue($lock->release('report', 'b'));
        self::assertTrue($lock->acquireRead('report', 'c'));
        self::assertTrue($lock->acquireRead('report', 'd'));
        self::assertTrue($lock->forceRelease('report'));
        self::assertFalse($lock->forceRelease('report'));
        $this->expectExceptionMessage('empty ID is not allowed');
        $lock->acquire('report', '');
    }

    public function testMetrics(): void
    {
        $metrics = new Metrics();
        for ($i = 0; $i < 2; $i++) { // as every worker does
            $metrics->declare('orders_total', 'counter', 'Orders.', labels: ['payment']);
            $metrics->declare('depth', 'gauge');
            $metrics->declare('seconds', 'histogram', buckets: [0.1, 1], namespace: 'shop', subsystem: 'cart');
            $metrics->declare('size', 'summary', objectives: ['0.5' => 0.05]);
        }
        $metrics->add('orders_total', 2, ['card']);
        $metrics->add('orders_total', labels: ['cash']);
        $metrics->set('depth', 7);
        $metrics->add('depth', 1.5);
        $metrics->sub('depth');
        $metrics->observe('seconds', 0.5);
        $metrics->observe('size', 3);
        $metrics->add('from_config', 4, ['x']);
        $metrics->declare('gone', 'gauge');
        $metrics->unregister('gone');
        foreach ([
            'undefined collector nope, try first Declare the desired collector' => fn () => $metrics->add('nope'),
            'undefined collector nope' => fn () => $metrics->set('nope', 1),
            'undefined collector gone' => fn () => $metrics->unregister('gone'),
            'required labels for collector orders_total' => fn () => $metrics->add('orders_total'),
            'collector orders_total has 1 labels, got values for 2' => fn () => $metrics->add('orders_total', 1, ['a', 'b']),
            'collector orders_total does not support method `Set`' => fn () => $metrics->set('orders_total', 1, ['card']),
            'collector depth does not support method `Observe`' => fn () => $metrics->observe('depth', 1),
            'counter orders_total cannot decrease: got -1' => fn () => $metrics->add('orders_total', -1, ['card']),
        ] as $text => $call) {
            try {
                $call();
                self::fail("it worked: $text");
            } catch (RPCException $e) {
                self::assertSame($text, $e->getMessage());
            }
        }
        foreach (['edge_mine' => "Edge's own", 'no name' => 'not a name of a metric', 'go_x' => "Edge's own"] as $name => $text) {
            try {
                $metrics->declare($name, 'gauge');
                self::fail("$name was declared");
            } catch (RPCException $e) {
                self::assertStringContainsString($text, $e->getMessage());
            }
        }
    }

    public function testAppLogger(): void
    {
        $log = new AppLogger();
        $log->error('it broke', ['order' => 7, 'list' => [1, 'ü'], 'text' => "a\nb"]);
        $log->warning('it is late');
        $log->info("not UTF-8: \xff", ['also' => "\xfe"]);
        $log->debug('nobody sees this');
        $log->raw('raw text', ['k' => 'v']);
        (new RPC())->call('app.Info', 'a plain text');
        (new RPC())->call('app.Log', "raw line\n");
        self::assertTrue(true);
    }

    public function testStatus(): void
    {
        $status = new Status();
        foreach (['app', 'http', 'rpc'] as $plugin) {
            self::assertNull($status->problem($plugin));
            self::assertNull($status->unready($plugin));
        }
        $this->expectExceptionMessage('no such plugin: nope');
        $status->unready('nope');
    }

    public function testInformer(): void
    {
        $informer = new Informer();
        self::assertSame(['app'], $informer->pools());
        self::assertCount(2, $before = $informer->workers('app'));
        self::assertSame($before[0]['pid'], $informer->workers('http')[0]['pid'], 'http stands for all pools');
        self::assertSame([], $informer->workers('nope'));
        self::eventually(['ready', 1], fn () => [$informer->workers('app')[0]['statusStr'], $informer->workers('app')[0]['status']]);
        self::assertGreaterThan(1e6, $before[0]['memoryUsage']);
        $informer->addWorker('app');
        self::eventually(3, fn () => count($informer->workers('app')));
        $informer->removeWorker('app');
        self::eventually(2, fn () => count($informer->workers('app')));
        $informer->reset('app');
        self::eventually(2, fn () => count(array_diff(array_column($informer->workers('app'), 'pid'), array_column($before, 'pid'))));
        self::eventually(2, fn () => count($informer->workers('app')));
        self::assertEmpty(array_intersect(array_column($before, 'pid'), array_column($informer->workers('app'), 'pid')));
        self::assertNull((new RPC())->call('informer.Jobs', 'app'));
        $this->expectExceptionMessage('no such plugin: nope');
        $informer->reset('nope');
    }

    /** Workers come and go a little after they were asked to. */
    private static function eventually(mixed $want, callable $got): void
    {
        for ($end = microtime(true) + 20; $got() !== $want && microtime(true) < $end; usleep(5000));
        self::assertSame($want, $got());
    }

    public function testVersionAndConfig(): void
    {
        $rpc = new RPC();
        self::assertMatchesRegularExpression('/^\d{4}\.\d+\.\d+$/', $rpc->call('rpc.Version', true));
        $config = json_decode(base64_decode($rpc->call('rpc.Config', true)), true);
        self::assertSame(1, $config['version']);
        self::assertStringNotContainsString('hush', json_encode($config));
    }

    public function testTrace(): void
    {
        try {
            Trace::set('00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01');
            self::assertSame(28, strlen(Trace::$options));
            self::assertStringStartsWith('00-0af', Trace::current());
            self::assertTrue((new Lock())->acquire('traced', 'a'));
            self::assertTrue((new Lock())->release('traced', 'a'));
            foreach (['', null, 'nonsense', "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\n", '00-' . str_repeat('g', 32) . '-b7ad6b7169203331-01'] as $bad) {
                Trace::set($bad);
                self::assertSame(['', ''], [Trace::$options, Trace::current()]);
            }
        } finally {
            Trace::set(null);
        }
    }

    public function testSecret(): void
    {
        $address = getenv('EDGE_TEST_PUBLIC');
        self::assertStringStartsWith('tcp://', $address);
        $rpc = new RPC($address, 30, 'hush, hush, hush, hush');
        self::assertNotSame('', $rpc->call('rpc.Version', true));
        self::assertTrue((new Lock($rpc))->acquire('over tcp', 'a'));
        foreach (['wrong wrong wrong wrong' => 'the answer does not fit rpc.secret', '' => 'call rpc.Challenge and rpc.Authenticate first'] as $secret => $text) {
            try {
                (new RPC($address, 30, $secret))->call('rpc.Version', true);
                self::fail('it worked');
            } catch (RPCException $e) {
                self::assertStringContainsString($text, $e->getMessage());
            }
        }
    }
}
