<?php

// What a Laravel application does with the driver "edge": it reads one request a line and answers in one line of JSON.
//   {"auth": {"user": "ada", "channel_name": …, "socket_id": …}}      is POST /broadcasting/auth
//   {"signin": {"user": "ada", "socket_id": …}}                       is POST /broadcasting/user-auth
//   {"broadcast": {"channels": […], "event": …, "payload": {…}}}      is an event that ShouldBroadcastNow
//   {"call": "users", "with": ["presence-room"]}                      is a method of Edge\Broadcast

declare(strict_types=1);

use Edge\Broadcast;
use Edge\Laravel\BroadcastServiceProvider;
use Illuminate\Broadcasting\BroadcastManager;
use Illuminate\Config\Repository;
use Illuminate\Container\Container;
use Illuminate\Http\Request;
use Symfony\Component\HttpKernel\Exception\AccessDeniedHttpException;

require $argv[1] . '/sdk/php/autoload.php';
foreach (['Illuminate/Broadcasting/autoload.php', 'Illuminate/Container/autoload.php', 'Illuminate/Config/autoload.php', 'Illuminate/Http/autoload.php',
    'Illuminate/Support/autoload.php', 'Symfony/Component/HttpKernel/autoload.php'] as $file) {
    if (stream_resolve_include_path($file) !== false) {
        require_once $file;
    }
}
spl_autoload_register(static function (string $class): void {
    $file = strtr($class, '\\', '/') . '.php';
    if (str_starts_with($class, 'Illuminate\\') && ($path = stream_resolve_include_path($file)) !== false) {
        require_once $path;
    }
});

final class User
{
    public function __construct(private string $name)
    {
    }

    public function getAuthIdentifier(): string
    {
        return $this->name;
    }
}

$app = new Container();
Container::setInstance($app);
$app->instance('config', new Repository(['broadcasting' => ['default' => 'edge', 'connections' => ['edge' => [
    'driver' => 'edge', 'app' => 'main', 'key' => getenv('APP_KEY'), 'secret' => getenv('APP_SECRET'), 'encryption_key' => base64_encode(str_repeat("\7", 32)),
]]]]));
$app->singleton(BroadcastManager::class, static fn ($app) => new BroadcastManager($app));
(new BroadcastServiceProvider($app))->boot();
$manager = $app->make(BroadcastManager::class);

// routes/channels.php
$manager->channel('room.{id}', static fn (User $user, $id) => $user->getAuthIdentifier() !== 'eve' ? ['name' => strtoupper($user->getAuthIdentifier()), 'room' => $id] : false);

$request = static function (array $with): Request {
    $request = Request::create('/broadcasting/auth', 'POST', $with);
    $request->setUserResolver(static fn () => isset($with['user']) ? new User($with['user']) : null);

    return $request;
};
while (($line = fgets(STDIN)) !== false) {
    $in = json_decode($line, true);
    try {
        $answer = match (key($in)) {
            'auth' => $manager->connection()->auth($request($in['auth'])),
            'signin' => $manager->connection()->resolveAuthenticatedUser($request($in['signin'])),
            'broadcast' => $manager->connection()->broadcast($in['broadcast']['channels'], $in['broadcast']['event'], $in['broadcast']['payload']),
            'call' => (new Broadcast('main'))->{$in['call']}(...$in['with']),
        };
    } catch (AccessDeniedHttpException) {
        $answer = ['status' => 403];
    } catch (Throwable $e) {
        $answer = ['error' => get_class($e) . ': ' . $e->getMessage()];
    }
    echo json_encode($answer), "\n";
}
