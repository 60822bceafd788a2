<?php

declare(strict_types=1);

namespace Edge\Tests\Integration;

use PHPUnit\Framework\TestCase;

/** The code of docs/php-cache.md does what the page says: every block runs, in a process of its own, against the server. */
final class DocsTest extends TestCase
{
    private const PAGE = __DIR__ . '/../../../../docs/php-cache.md';

    /** @return list<string> the blocks of a language, those with $word in them */
    private static function blocks(string $language, string $word): array
    {
        \preg_match_all("/^```$language\n(.*?)^```$/ms", (string) \file_get_contents(self::PAGE), $found);

        return \array_values(\array_filter($found[1], static fn ($block) => \str_contains($block, $word)));
    }

    /** Runs code in a process of its own and returns what it printed. */
    private static function execute(string $code): string
    {
        $file = (string) \tempnam(\sys_get_temp_dir(), 'edge-docs');
        \file_put_contents($file, "<?php\nerror_reporting(E_ALL);\nrequire " . \var_export(\dirname(__DIR__) . '/bootstrap.php', true) . ";\n" . $code);
        try {
            \exec(\escapeshellarg(\PHP_BINARY) . ' -d display_errors=stderr ' . \escapeshellarg($file) . ' 2>&1', $out, $status);
        } finally {
            \unlink($file);
        }
        self::assertSame(0, $status, \implode("\n", $out) . "\n$code");

        return \implode("\n", $out);
    }

    public function testEveryBlockIsRun(): void
    {
        \preg_match_all('/^```(\w+)$/m', (string) \file_get_contents(self::PAGE), $found);
        $counts = \array_count_values($found[1]);
        \ksort($counts);
        self::assertSame(['php' => 3, 'yaml' => 2], $counts, 'a block came or went: test it here');
    }

    public function testPsr(): void
    {
        [$code] = self::blocks('php', 'SimpleCache');
        self::assertSame('[{"a":1},"shop item","tagged",null]', self::execute($code . <<<'PHP'
            $kv->clear();
            $cache->set('simple', ['a' => 1], 60);
            $out = [$cache->get('simple')];
            $pool->clear();
            foreach (['item' => 'shop item', 'tagged' => 'tagged'] as $key => $value) {
                $item = $pool->getItem($key)->set($value);
                $pool->save($key === 'tagged' ? $item->setTags(['red']) : $item);
                $out[] = $pool->getItem($key)->get();
            }
            $pool->invalidateTags(['red']);
            $out[] = $pool->getItem('tagged')->get();
            echo json_encode($out);
            PHP));
    }

    public function testSymfony(): void
    {
        [$yaml] = self::blocks('yaml', 'services:');
        \preg_match_all('/class: (\S+)\n\s+arguments: (\[.*?\])/', $yaml, $services, \PREG_SET_ORDER);
        self::assertCount(3, $services);
        $names = [];
        foreach ($services as [, $class, $arguments]) {
            $names[] = self::execute(<<<PHP
                \$service = new $class(...$arguments);
                if (\$service instanceof SessionHandlerInterface) {
                    \$service->open('', 'S');
                    \$service->read('id7');
                    \$service->write('id7', 'user');
                    \$service->close();
                    \$service->open('', 'S');
                    echo get_class(\$service), ' ', \$service->read('id7');
                    \$service->close();
                    exit;
                }
                \$service->delete('page');
                \$value = \$service->get('page', function (\$item) use (\$service) {
                    \$service instanceof Symfony\Contracts\Cache\TagAwareCacheInterface && \$item->tag('red');
                    return 'computed';
                });
                \$again = \$service->get('page', fn () => 'computed twice');
                if (\$service instanceof Symfony\Contracts\Cache\TagAwareCacheInterface) {
                    \$service->invalidateTags(['red']);
                    \$again .= ', ' . \$service->get('page', fn () => 'void');
                }
                echo get_class(\$service), " \$value, \$again";
                PHP);
        }
        self::assertSame([
            'Edge\Symfony\CacheAdapter computed, computed', 'Edge\Symfony\TagAwareCacheAdapter computed, computed, void',
            'Edge\Session\Handler user',
        ], $names);
    }

    public function testLaravel(): void
    {
        [$code] = self::blocks('php', 'config/cache.php');
        $files = \preg_split('~^// config/(\w+)\.php.*\n~m', $code, -1, \PREG_SPLIT_DELIM_CAPTURE | \PREG_SPLIT_NO_EMPTY);
        self::assertSame(['app', 'cache', 'session'], [$files[0], $files[2], $files[4]]);
        $out = self::execute(<<<PHP
            \$app = new Illuminate\Foundation\Application(sys_get_temp_dir());
            \$more = ['cache' => ['prefix' => 'docs_'], 'session' => ['lifetime' => 120, 'cookie' => 'c', 'encrypt' => false, 'serialization' => 'php']];
            \$app->instance('config', new Illuminate\Config\Repository([
                'cache' => [$files[3]] + \$more['cache'], 'session' => [$files[5]] + \$more['session'],
            ]));
            \$app->singleton('cache', static fn (\$app) => new Illuminate\Cache\CacheManager(\$app));
            \$app->singleton('session', static fn (\$app) => new Illuminate\Session\SessionManager(\$app));
            \$app->instance('events', new Illuminate\Events\Dispatcher(\$app));
            foreach ([$files[1]] as \$provider) {
                \$app->register(\$provider);
            }
            \$app->boot();
            \$cache = \$app['cache']->store();
            \$cache->put('k', 'cached', 60);
            \$session = \$app['session']->driver();
            \$session->put('user', 7);
            \$session->save();
            echo get_class(\$cache->getStore()), ' ', (new Edge\SimpleCache(new Edge\KV('cache')))->has('docs_k') ? 'stored ' : 'lost ', \$cache->get('k');
            echo ' ', iterator_count((new Edge\KV('sessions'))->scan()) > 0 ? 'session' : 'no session';
            PHP);
        self::assertSame('Edge\Laravel\CacheStore stored cached session', $out);
    }

    public function testSessions(): void
    {
        [$code] = self::blocks('php', 'session_set_save_handler');
        self::assertSame('7', self::execute($code . <<<'PHP'
            session_id('docs7');
            session_start();
            $_SESSION['user'] = 7;
            session_write_close();
            $_SESSION = [];
            session_start();
            echo $_SESSION['user'];
            session_destroy();
            PHP));
    }

    public function testSerializers(): void
    {
        \preg_match_all('/^\| `(new .*?)` \|/m', (string) \file_get_contents(self::PAGE), $found);
        self::assertCount(6, $found[1]);
        foreach ($found[1] as $i => $serializer) {
            self::assertSame('text', self::execute(<<<PHP
                final class Cart {}
                \$key = \$new = Edge\Serializer\Sodium::generateKey();
                \$old = Edge\Serializer\Sodium::generateKey();
                \$inner = new Edge\Serializer\Native();
                \$kv = new Edge\KV('cache', null, $serializer);
                \$kv->set('docs:serializer:$i', 'text', 60);
                echo \$kv->getMultiple(['docs:serializer:$i'])['docs:serializer:$i'];
                PHP), $serializer);
        }
    }

    public function testMethodsOfKV(): void
    {
        $page = (string) \file_get_contents(self::PAGE);
        \preg_match_all('/`(\w+)`/', \substr($page, (int) \strpos($page, '`Edge\KV` has what caches do not')), $found);
        self::assertGreaterThan(12, \count($found[1]));
        foreach ($found[1] as $method) {
            self::assertTrue(\method_exists(\Edge\KV::class, $method), "there is no Edge\\KV::$method()");
        }
    }
}
