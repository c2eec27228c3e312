from twisted.internet import reactor, task


async def test_flow(master):
    u = master.data.update
    seen = []
    w = await master.data.watch(lambda k, m: seen.append((k, m)), {}, ("changes",))
    cid = await u.addChange(author="me", files=["a", "b"], comments="hi", branch="main", revision="r1", repository="repo", properties={"x": 1})
    ch = await master.data.get({}, ("changes", cid))
    print(ch)
    bsid, brids = await u.addBuildset(sourcestamps=[dict(branch="main", revision="r1", repository="repo", changeids=[cid])], reason="r", properties={"p": (1, "S")}, builderNames=["b1", "b2"])
    print(await master.data.get({"properties": ["*"], "expand": ["buildset.sourcestamps", "builder"] [1:]}, ("buildrequests",)))
    assert await u.claimBuildRequests([brids["b1"]])
    assert not await u.claimBuildRequests([brids["b1"]])
    bid = await u.newBuild(brids["b1"])
    await u.setBuildProperties(bid, {"a": ("x", "src")})
    step = await u.newStep(bid, "shell")
    await u.startStep(step["stepid"])
    lid = await u.newLog(step["stepid"], "stdio", "s")
    print(await u.appendLog(lid, "ohello\nehi\n"), await u.appendLog(lid, "omore\n"))
    print(await master.data.get({"offset": 1, "limit": 2}, ("logs", lid, "contents")))
    await u.finishLog(lid)
    print(await master.data.get({"offset": 1, "limit": 1}, ("logs", lid, "contents")))
    await u.finishStep(step["stepid"], 0)
    await u.finishBuild(bid, 0)
    await u.completeBuildRequests(list(brids.values())[:1], 0)
    print(await master.data.get({"properties": ["a"]}, ("builds", bid)))
    print(await master.data.get({}, ("builds", bid, "changes")))
    print(await master.data.control("rebuild", {}, ("builds", bid)))
    await task.deferLater(reactor, 0.01)
    print(seen, w.clock)
    assert len(seen) == 1
